//! Does the object load, how big is it, and are its maps what the rest of the house takes them for?

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use aya::maps::{Map, MapData};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, features, include_bytes_aligned};
use aya_obj::generated::bpf_insn;
use aya_obj::{Function, Object, Program};
use common::in_a_world;
use engine::Name;
use plane::row::{BUCKET_WAYS, ENTRY_WORDS, MAX_WATCHES, TRACK_WORDS, WATCH_WORDS};
use plane::stage::{PARCEL_WORDS, TOLD_WORDS};

static OBJECT: &[u8] = include_bytes_aligned!("../bpf/forebay.bpf.o");

/// What a program may cost. A change that needs more says so here, in the same commit, with its reason in the message.
struct Ratchet {
    program: &'static str,
    /// Instructions after the verifier's own changes: what is run.
    translated: u32,
    /// Instructions that the verifier followed, on all ways through the program: at a million it refuses.
    verified: u32,
    /// Bytes of stack on the deepest way through its functions: at 512 the verifier refuses.
    stack: u32,
}

/// As measured on Linux 6.18.
const RATCHETS: [Ratchet; 12] = [
    Ratchet { program: "forebay", translated: 3_321, verified: 243_157, stack: 400 },
    Ratchet { program: "forebay_masquerade", translated: 2_290, verified: 55_573, stack: 368 },
    Ratchet { program: "forebay_return", translated: 2_878, verified: 37_039, stack: 288 },
    Ratchet { program: "forebay_answer", translated: 1_591, verified: 2_297, stack: 144 },
    Ratchet { program: "forebay_untangle", translated: 1_635, verified: 22_547, stack: 160 },
    Ratchet { program: "forebay_forward", translated: 2_772, verified: 134_538, stack: 384 },
    Ratchet { program: "forebay_report", translated: 5_459, verified: 29_158, stack: 368 },
    Ratchet { program: "forebay_track", translated: 3_719, verified: 98_363, stack: 464 },
    Ratchet { program: "forebay_too_big", translated: 1_483, verified: 34_489, stack: 160 },
    Ratchet { program: "forebay_watch", translated: 1_762, verified: 7_245, stack: 192 },
    Ratchet { program: "forebay_moment", translated: 37, verified: 37, stack: 16 },
    Ratchet { program: "forebay_now", translated: 28, verified: 19, stack: 16 },
];
/// More than this, in hundredths, is too much.
const SLACK: u32 = 110;

const MMAPABLE: u32 = 1 << 10;
const ARRAY: u32 = 2;
const PROGRAM_ARRAY: u32 = 3;
const PER_CPU_ARRAY: u32 = 6;
const RING_BUFFER: u32 = 27;

/// Name, type, bytes of a value, flags.
fn maps() -> [(&'static str, u32, usize, u32); 32] {
    [
        ("CONFIG", ARRAY, 8 * Name::Config.width(), MMAPABLE),
        ("LINKS", ARRAY, 8 * Name::Links.width(), MMAPABLE),
        ("ADDRESSES", ARRAY, 8 * Name::Addresses.width(), MMAPABLE),
        ("RULES", ARRAY, 8 * Name::Rules.width(), MMAPABLE),
        ("RETURNS", ARRAY, 8 * Name::Returns.width(), MMAPABLE),
        ("SLOTS", ARRAY, 8 * Name::Slots.width(), MMAPABLE),
        ("DOWN", ARRAY, 8 * Name::Down.width(), MMAPABLE),
        ("MEMBERS", ARRAY, 8 * Name::Members.width(), MMAPABLE),
        ("LISTS", ARRAY, 8 * Name::Lists.width(), MMAPABLE),
        ("ACCESS", ARRAY, 8 * Name::Access.width(), MMAPABLE),
        ("SECURITY", ARRAY, 8 * Name::Security.width(), MMAPABLE),
        ("FLOWS", ARRAY, 8 * BUCKET_WAYS, MMAPABLE),
        ("TRACKS", ARRAY, 8 * TRACK_WORDS, MMAPABLE),
        ("RESETS", ARRAY, 8, MMAPABLE),
        ("PIECES", ARRAY, 8 * BUCKET_WAYS, MMAPABLE),
        ("OUTWARD", ARRAY, 8 * ENTRY_WORDS, MMAPABLE),
        ("INWARD", ARRAY, 8 * ENTRY_WORDS, MMAPABLE),
        ("STAGES", PROGRAM_ARRAY, 4, 0),
        ("TOLD", PER_CPU_ARRAY, 8 * TOLD_WORDS, 0),
        ("PARCEL", PER_CPU_ARRAY, 8 * PARCEL_WORDS, 0),
        ("RULE_COUNTS", PER_CPU_ARRAY, 32, 0),
        ("MEMBER_COUNTS", PER_CPU_ARRAY, 32, 0),
        ("UNMATCHED_COUNTS", PER_CPU_ARRAY, 8, 0),
        ("SECURITY_COUNTS", PER_CPU_ARRAY, 16, 0),
        ("REASON_COUNTS", PER_CPU_ARRAY, 16, 0),
        ("WATCHES", ARRAY, 8 * WATCH_WORDS * MAX_WATCHES, MMAPABLE),
        ("REPORTS_0", RING_BUFFER, 0, 0),
        ("REPORTS_1", RING_BUFFER, 0, 0),
        ("REPORTS_2", RING_BUFFER, 0, 0),
        ("REPORTS_3", RING_BUFFER, 0, 0),
        ("WATCH_COUNTS", PER_CPU_ARRAY, 16, 0),
        ("DROPPED", PER_CPU_ARRAY, 8, 0),
    ]
}

#[test]
fn programs_load_and_do_not_grow_unnoticed() {
    in_a_world(|_| {
        let mut object = load();
        let stacks = stack_depths(&object);
        let mut grown = Vec::new();
        for ratchet in RATCHETS {
            let name = ratchet.program;
            let program: &mut Xdp = object.program_mut(name).unwrap().try_into().unwrap();
            forebay_kernel::load_program(program)
                .unwrap_or_else(|cause| panic!("`{name}` does not load: {cause}"));
            let info = program.info().unwrap();
            let measured = [
                ("translated", info.size_translated().unwrap() / 8, ratchet.translated),
                ("verified", info.verified_instruction_count().unwrap(), ratchet.verified),
                ("stack", stacks[name], ratchet.stack),
            ];
            for (what, now, then) in measured {
                eprintln!("{name}: {what} {now}");
                if now * 100 > then * SLACK {
                    grown.push(format!("{name}: {what} is {now}, and was {then}"));
                } else if now * SLACK < then * 100 {
                    eprintln!("{name}: {what} shrank from {then}: write {now} into RATCHETS of {}", file!());
                }
            }
        }
        assert!(
            grown.is_empty(),
            "the programs grew by more than {} %:\n{}\nIf that is meant, write the new numbers into RATCHETS of {}, and say in the \
             commit what they buy.",
            SLACK - 100,
            grown.join("\n"),
            file!()
        );
    });
}

#[test]
fn maps_are_as_the_rest_takes_them_for() {
    in_a_world(|_| {
        let object = load();
        let there: BTreeMap<String, (u32, usize, u32)> = object
            .maps()
            .map(|(name, map)| {
                let info = data(map).info().unwrap();
                (
                    name.to_owned(),
                    (info.map_type().unwrap() as u32, info.value_size() as usize, info.map_flags()),
                )
            })
            .collect();
        let wanted: BTreeMap<String, (u32, usize, u32)> = maps()
            .into_iter()
            .map(|(name, kind, value, flags)| (name.to_owned(), (kind, value, flags)))
            .collect();
        assert_eq!(there, wanted);
    });
}

fn load() -> Ebpf {
    EbpfLoader::new().load(OBJECT).unwrap()
}

fn data(map: &Map) -> &MapData {
    let (Map::Array(data) | Map::PerCpuArray(data) | Map::ProgramArray(data) | Map::RingBuf(data)) = map
    else {
        panic!("{map:?}")
    };
    data
}

/// Bytes of stack on the deepest way through the functions of each program. The verifier tells this only in its log, which the
/// loader does not show of programs that load: so they are loaded once more here.
fn stack_depths(maps: &Ebpf) -> BTreeMap<String, u32> {
    let mut object = Object::parse(OBJECT).unwrap();
    let types = object.fixup_and_sanitize_btf(features().btf().unwrap()).unwrap().unwrap().to_bytes();
    let types = bpf(
        BTF_LOAD,
        &LoadTypes { types: types.as_ptr() as u64, log: 0, size: types.len() as u32, rest: [0; 3] },
    )
    .unwrap();
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let parsed = object.maps.clone();
    let fds = parsed.iter().map(|(name, map)| {
        let fd = data(maps.map(name).unwrap()).fd().as_fd().as_raw_fd();
        (name.as_str(), fd, map)
    });
    object.relocate_maps(fds, &sections).unwrap();
    object.relocate_calls(&sections).unwrap();
    let depth = |(name, program): (&String, &Program)| {
        let function = &object.functions[&program.function_key()];
        let log = verifier_log(function, types.as_raw_fd());
        let line = log
            .lines()
            .find_map(|line| line.strip_prefix("stack depth "))
            .unwrap_or_else(|| panic!("{name}: {log}"));
        let depths: Vec<u32> = line.split('+').map(|depth| depth.parse().unwrap()).collect();
        (name.clone(), deepest(&calls(&function.instructions), &depths, 0))
    };
    object.programs.iter().map(depth).collect()
}

/// Which functions each function of a program calls, in the order in which they lie, which is the verifier's too.
fn calls(instructions: &[bpf_insn]) -> Vec<BTreeSet<usize>> {
    const CALL: u8 = 0x85;
    const OF_PROGRAM: u8 = 1;
    let calls: Vec<(usize, usize)> = instructions
        .iter()
        .enumerate()
        .filter(|(_, instruction)| instruction.code == CALL && instruction.src_reg() == OF_PROGRAM)
        .map(|(at, instruction)| (at, (at as i64 + 1 + i64::from(instruction.imm)) as usize))
        .collect();
    let starts: BTreeSet<usize> = calls.iter().map(|(_, to)| *to).chain([0]).collect();
    let number = |at: usize| starts.range(..=at).count() - 1;
    let mut called = vec![BTreeSet::new(); starts.len()];
    for (at, to) in calls {
        called[number(at)].insert(number(to));
    }
    called
}

/// As the verifier counts: a frame takes multiples of 16 bytes, and at least that.
fn deepest(calls: &[BTreeSet<usize>], depths: &[u32], function: usize) -> u32 {
    let below = calls[function].iter().map(|callee| deepest(calls, depths, *callee)).max();
    depths[function].max(1).next_multiple_of(16) + below.unwrap_or_default()
}

const PROG_LOAD: u32 = 5;
const BTF_LOAD: u32 = 18;

/// `union bpf_attr` of the kernel for BPF_BTF_LOAD.
#[repr(C)]
struct LoadTypes {
    types: u64,
    log: u64,
    size: u32,
    rest: [u32; 3],
}

/// `union bpf_attr` of the kernel for BPF_PROG_LOAD.
#[repr(C)]
struct LoadProgram {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    /// Version, flags, name, interface and expected way to attach.
    plain: [u32; 8],
    types: u32,
    function_size: u32,
    functions: u64,
    function_count: u32,
    rest: u32,
}

fn verifier_log(function: &Function, types: i32) -> String {
    const XDP: u32 = 6;
    const STATISTICS: u32 = 4;
    const BPF_XDP: u32 = 37;
    let license = c"Dual MIT/GPL";
    let functions = function.func_info.func_info_bytes();
    let mut log = vec![0u8; 1 << 20];
    let loaded = bpf(
        PROG_LOAD,
        &LoadProgram {
            kind: XDP,
            instruction_count: function.instructions.len() as u32,
            instructions: function.instructions.as_ptr() as u64,
            license: license.as_ptr() as u64,
            log_level: STATISTICS,
            log_size: log.len() as u32,
            log: log.as_mut_ptr() as u64,
            // As the loader does: programs of one array of stages must agree in it.
            plain: [0, 0, 0, 0, 0, 0, 0, BPF_XDP],
            types: types as u32,
            function_size: function.func_info_rec_size as u32,
            functions: functions.as_ptr() as u64,
            function_count: function.func_info.len() as u32,
            rest: 0,
        },
    );
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    let log = String::from_utf8_lossy(&log[..end]).into_owned();
    loaded.unwrap_or_else(|cause| panic!("{} {cause}\n{log}", function.name));
    log
}

/// The system call, for a command that opens a descriptor.
fn bpf<A>(command: u32, attributes: &A) -> io::Result<OwnedFd> {
    let attributes: *const A = attributes;
    // SAFETY: the attributes, and all that they point to, outlive the call, and each is passed with its size.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<A>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened the descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
