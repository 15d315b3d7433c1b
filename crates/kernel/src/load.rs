//! Loading the object, and opening what an earlier process left.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use aya::maps::{Map, MapData, PerCpuArray, ProgramArray};
use aya::programs::{ProgramError, Xdp};
use aya::{EbpfLoader, include_bytes_aligned};
use aya_obj::Object;
use aya_obj::programs::XdpAttachType;
use engine::{Name, Sizes};
use plane::row::{
    ACCESS_PLACES, ADDRESS_PLACES, BUCKET_WAYS, DOWN_WORDS, LINK_PLACES, MAX_ADDRESSES, MAX_LISTS,
    MAX_MEMBERS, MAX_RULES, MAX_SECURITY_RULES, MAX_WATCHES, PIECE_BUCKETS, RETURN_PLACES, RING_WORDS,
    RULE_PLACES, WATCH_WORDS,
};
use plane::{RESET_CAUSES, Stage};

use crate::carry::{self, Leaving};
use crate::error::KernelError;
use crate::maps::{Counters, Words};
use crate::pin::Place;
use crate::{Kernel, Options};

pub(crate) static OBJECT: &[u8] = include_bytes_aligned!("../bpf/forebay.bpf.o");

pub(crate) const TABLES: [(Name, &str); 11] = [
    (Name::Config, "CONFIG"),
    (Name::Links, "LINKS"),
    (Name::Addresses, "ADDRESSES"),
    (Name::Rules, "RULES"),
    (Name::Returns, "RETURNS"),
    (Name::Slots, "SLOTS"),
    (Name::Down, "DOWN"),
    (Name::Members, "MEMBERS"),
    (Name::Lists, "LISTS"),
    (Name::Access, "ACCESS"),
    (Name::Security, "SECURITY"),
];
pub(crate) const MEMORIES: [&str; 5] = ["FLOWS", "TRACKS", "PIECES", "OUTWARD", "INWARD"];
const RESETS: &str = "RESETS";
/// With the words of a row.
const COUNTERS: [(&str, usize); 5] = [
    ("RULE_COUNTS", 4),
    ("MEMBER_COUNTS", 4),
    ("UNMATCHED_COUNTS", 1),
    ("SECURITY_COUNTS", 2),
    ("REASON_COUNTS", 2),
];
/// One value with a row for each who watches.
pub(crate) const WATCHES: &str = "WATCHES";
/// What those who watch are told, a ring buffer each.
pub(crate) const RINGS: [&str; MAX_WATCHES] = ["REPORTS_0", "REPORTS_1", "REPORTS_2", "REPORTS_3"];
pub(crate) const WATCH_COUNTS: &str = "WATCH_COUNTS";
pub(crate) const SECURITY: &str = "SECURITY";
/// The program that tells those who watch, behind the stages.
const TELLER: &str = "forebay_watch";
const NOW: &str = "now";
const MOMENT: &str = "forebay_moment";
const STAGES: &str = "STAGES";
/// What the pins of the stages' programs begin with; a number follows.
pub(crate) const STAGES_PIN: &str = "stages-";

/// Rows of every map that has others than the object says, or that must have as many as we think.
fn rows(sizes: Sizes) -> [(&'static str, u32); 20] {
    [
        ("CONFIG", 1),
        ("LINKS", LINK_PLACES),
        ("ADDRESSES", ADDRESS_PLACES),
        ("RULES", RULE_PLACES),
        ("RETURNS", RETURN_PLACES),
        ("SLOTS", sizes.rings * RING_WORDS),
        ("DOWN", sizes.rings * DOWN_WORDS),
        ("MEMBERS", MAX_MEMBERS),
        ("LISTS", MAX_LISTS),
        ("ACCESS", ACCESS_PLACES),
        ("SECURITY", MAX_SECURITY_RULES),
        ("SECURITY_COUNTS", MAX_SECURITY_RULES),
        ("FLOWS", 1 << sizes.flow_bits),
        ("TRACKS", (BUCKET_WAYS as u32) << sizes.flow_bits),
        ("RESETS", RESET_CAUSES),
        ("PIECES", PIECE_BUCKETS),
        ("OUTWARD", 1 << sizes.masquerade_bits),
        ("INWARD", 1 << sizes.masquerade_bits),
        ("RULE_COUNTS", MAX_RULES),
        ("UNMATCHED_COUNTS", MAX_ADDRESSES),
    ]
}

/// Every map with rows that is pinned, with the words of a row.
pub(crate) fn maps() -> impl Iterator<Item = (&'static str, usize)> {
    let tables = TABLES.iter().map(|(table, name)| (*name, table.width()));
    let others = [(RESETS, 1), (WATCHES, WATCH_WORDS * MAX_WATCHES), (WATCH_COUNTS, 2)];
    tables.chain(MEMORIES.map(|name| (name, BUCKET_WAYS))).chain(others).chain(COUNTERS)
}

pub(crate) fn open(options: &Options, bytes: &[u8]) -> Result<Kernel, KernelError> {
    let place = &options.place;
    let lock = place.lock()?;
    place.make()?;
    let taken_over = place.pin("CONFIG").exists();
    let wanted = Object::parse(bytes).map_err(|cause| refused_map(cause.into()))?;
    let moving = carry::moving(place, |map| rows_of(place, map, &wanted))?;
    same_sizes(place, options.sizes)?;
    carry::forget(place)?;
    let names = maps().map(|(name, _)| name).chain(RINGS);
    let pins: Vec<(&str, std::path::PathBuf)> =
        names.map(|name| (name, place.pin(&carry::pin_of(name, &moving)))).collect();
    let mut loader = EbpfLoader::new();
    for (name, rows) in rows(options.sizes) {
        loader.map_max_entries(name, rows);
    }
    for (name, pin) in &pins {
        loader.map_pin_path(name, pin.as_path());
    }
    let mut object = loader.load(bytes).map_err(refused_map)?;

    load_program(program(&mut object, MOMENT)?).map_err(refused)?;
    let now = program(&mut object, "forebay_now")?;
    load_program(now).map_err(refused)?;
    let pin = place.pin(NOW);
    if pin.exists() {
        crate::pin::remove(&pin)?;
    }
    now.pin(&pin).map_err(|cause| KernelError::Pin { path: pin, cause: Box::new(cause) })?;
    load_stages(&mut object)?;
    let stages = pin_stages(place, &mut object)?;
    let maps = maps().map(|(name, _)| (name, map_of(&mut object, name))).collect();
    let mut kernel = build(place, maps, Programs::Loaded { object, stages }, taken_over, Some(lock))?;
    carry_over(&mut kernel, moving)?;
    Ok(kernel)
}

/// Brings what is in maps that are made anew.
fn carry_over(kernel: &mut Kernel, moving: BTreeSet<&'static str>) -> Result<(), KernelError> {
    for (table, map) in TABLES.iter().filter(|(_, map)| moving.contains(map)) {
        let old = pinned(&kernel.place, map)?;
        carry::copy(&Words::map(map, &old, table.width())?, kernel.table(*table)?);
    }
    for map in MEMORIES.into_iter().filter(|map| moving.contains(map)) {
        let old = Words::map(map, &pinned(&kernel.place, map)?, BUCKET_WAYS)?;
        let leaving = Leaving::carry(map, old, kernel.memory_words(map));
        kernel.leaving.push(leaving);
    }
    kernel.moving = moving;
    Ok(())
}

/// Bytes of a row of a map that is pinned, and of one of the object's; `None` where nothing is pinned.
fn rows_of(place: &Place, map: &'static str, object: &Object) -> Result<Option<(u32, u32)>, KernelError> {
    if !place.pin(map).exists() {
        return Ok(None);
    }
    let info =
        pinned(place, map)?.info().map_err(|cause| KernelError::Map { map, cause: Box::new(cause) })?;
    let wanted = object.maps.get(map).ok_or(KernelError::Part { name: map })?;
    Ok(Some((info.value_size(), wanted.value_size())))
}

pub(crate) fn look(place: &Place) -> Result<Kernel, KernelError> {
    if !place.pin("CONFIG").exists() {
        return Err(place.missing());
    }
    same_layout(place)?;
    let maps = maps().map(|(name, _)| (name, pinned(place, name))).collect();
    let pin = place.pin(NOW);
    let now = Xdp::from_pin(&pin, XdpAttachType::Interface)
        .map_err(|cause| KernelError::Pin { path: pin, cause: Box::new(cause) })?;
    build(place, maps, Programs::Clock(Box::new(now)), true, None)
}

fn build(
    place: &Place,
    mut maps: BTreeMap<&'static str, Result<MapData, KernelError>>,
    programs: Programs,
    taken_over: bool,
    lock: Option<nix::fcntl::Flock<std::fs::File>>,
) -> Result<Kernel, KernelError> {
    let mut data = |name: &'static str| maps.remove(name).unwrap_or(Err(KernelError::Part { name }));
    let mut words = BTreeMap::new();
    for (table, name) in TABLES {
        words.insert(table, Words::map(name, &data(name)?, table.width())?);
    }
    let [flows, tracks, pieces, outward, inward] = MEMORIES;
    let [rules, members, unmatched, security, reasons] = COUNTERS.map(|(name, _)| name);
    Ok(Kernel {
        place: place.clone(),
        words,
        flows: Words::map(flows, &data(flows)?, 8)?,
        tracks: Words::map(tracks, &data(tracks)?, 8)?,
        resets: Words::map(RESETS, &data(RESETS)?, 1)?,
        pieces: Words::map(pieces, &data(pieces)?, 8)?,
        outward: Words::map(outward, &data(outward)?, 8)?,
        inward: Words::map(inward, &data(inward)?, 8)?,
        rule_counts: Counters::Four(rules, per_cpu(rules, data(rules)?)?),
        member_counts: Counters::Four(members, per_cpu(members, data(members)?)?),
        unmatched_counts: Counters::One(unmatched, per_cpu(unmatched, data(unmatched)?)?),
        security_counts: Counters::Two(security, per_cpu(security, data(security)?)?),
        reason_counts: Counters::Two(reasons, per_cpu(reasons, data(reasons)?)?),
        programs,
        taken_over,
        moving: BTreeSet::new(),
        leaving: Vec::new(),
        _lock: lock,
    })
}

pub(crate) fn per_cpu<V: aya::Pod>(
    name: &'static str,
    data: MapData,
) -> Result<PerCpuArray<MapData, V>, KernelError> {
    Map::PerCpuArray(data).try_into().map_err(|cause| KernelError::Map { map: name, cause: Box::new(cause) })
}

/// The programs, as far as this process has them.
pub(crate) enum Programs {
    /// All of them.
    Loaded {
        /// The object with its programs.
        object: aya::Ebpf,
        /// The pin of its stages.
        stages: String,
    },
    /// The one that tells the time.
    Clock(Box<Xdp>),
}

impl Programs {
    pub(crate) fn clock(&self) -> Result<&Xdp, KernelError> {
        match self {
            Self::Clock(now) => Ok(now),
            Self::Loaded { object, .. } => {
                let name = "forebay_now";
                let now = object.program(name).ok_or(KernelError::Part { name })?;
                now.try_into().map_err(|_| KernelError::Part { name })
            }
        }
    }

    pub(crate) fn moment(&self) -> Result<&Xdp, KernelError> {
        match self {
            Self::Clock(_) => Err(KernelError::LookingOnly),
            Self::Loaded { object, .. } => {
                let moment = object.program(MOMENT).ok_or(KernelError::Part { name: MOMENT })?;
                moment.try_into().map_err(|_| KernelError::Part { name: MOMENT })
            }
        }
    }

    /// The pin of the stages of this process.
    pub(crate) fn stages(&self) -> Option<&str> {
        match self {
            Self::Clock(_) => None,
            Self::Loaded { stages, .. } => Some(stages),
        }
    }

    pub(crate) fn balancer(&mut self) -> Result<&mut Xdp, KernelError> {
        match self {
            Self::Clock(_) => Err(KernelError::LookingOnly),
            Self::Loaded { object, .. } => program(object, Stage::Enter.program()),
        }
    }
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Loaded { .. } => "Loaded",
            Self::Clock(_) => "Clock",
        })
    }
}

/// Loads the program of every stage, and puts them where they find each other.
///
/// # Errors
/// It is not the data path's object, or the kernel or the privileges do not allow it.
pub fn load_stages(object: &mut aya::Ebpf) -> Result<(), KernelError> {
    let names = || Stage::ALL.map(Stage::program).into_iter().chain([TELLER]);
    for name in names() {
        load_program(program(object, name)?).map_err(refused)?;
    }
    for (place, name) in (0..).zip(names()) {
        let loaded = program(object, name)?;
        let fd = loaded.fd().and_then(|fd| Ok(fd.try_clone()?)).map_err(refused)?;
        let failed = |cause| KernelError::Map { map: STAGES, cause: Box::new(cause) };
        stages(object)?.set(place, &fd, 0).map_err(failed)?;
    }
    Ok(())
}

fn stages(object: &mut aya::Ebpf) -> Result<ProgramArray<&mut MapData>, KernelError> {
    let map = object.map_mut(STAGES).ok_or(KernelError::Part { name: STAGES })?;
    ProgramArray::try_from(map).map_err(|cause| KernelError::Map { map: STAGES, cause: Box::new(cause) })
}

/// Pins the stages' programs beside those of the process before, which are needed as long as its first stage is attached anywhere: the
/// kernel empties such an array as soon as nobody holds it any more.
fn pin_stages(place: &Place, object: &mut aya::Ebpf) -> Result<String, KernelError> {
    let taken = crate::pin::list(&place.folder())?;
    let name = (0..).map(|number| format!("{STAGES_PIN}{number}")).find(|name| !taken.contains(name));
    let name = name.ok_or(KernelError::Part { name: STAGES })?;
    let path = place.pin(&name);
    stages(object)?.pin(&path).map_err(|cause| KernelError::Pin { path, cause: Box::new(cause) })?;
    Ok(name)
}

/// Loads a program. The verifier gives up when a signal arrives, which says nothing about the program: it is tried again.
///
/// # Errors
/// The kernel refuses the program, or signals do not stop arriving.
pub fn load_program(program: &mut Xdp) -> Result<(), ProgramError> {
    const ATTEMPTS: usize = 10;
    for _ in 1..ATTEMPTS {
        match program.load() {
            Err(ProgramError::LoadError { io_error, .. }) if io_error.kind() == ErrorKind::WouldBlock => {}
            loaded => return loaded,
        }
    }
    program.load()
}

fn program<'a>(object: &'a mut aya::Ebpf, name: &'static str) -> Result<&'a mut Xdp, KernelError> {
    let program = object.program_mut(name).ok_or(KernelError::Part { name })?;
    program.try_into().map_err(|_| KernelError::Part { name })
}

fn map_of(object: &mut aya::Ebpf, name: &'static str) -> Result<MapData, KernelError> {
    match object.take_map(name) {
        Some(Map::Array(data) | Map::PerCpuArray(data)) => Ok(data),
        _ => Err(KernelError::Part { name }),
    }
}

pub(crate) fn pinned(place: &Place, name: &'static str) -> Result<MapData, KernelError> {
    MapData::from_pin(place.pin(name)).map_err(|cause| KernelError::Map { map: name, cause: Box::new(cause) })
}

/// What is pinned is used again, so its rows must be the same.
fn same_layout(place: &Place) -> Result<(), KernelError> {
    for (map, words) in maps().filter(|(map, _)| place.pin(map).exists()) {
        let info =
            pinned(place, map)?.info().map_err(|cause| KernelError::Map { map, cause: Box::new(cause) })?;
        let (found, wanted) = (info.value_size(), 8 * words as u32);
        if found != wanted {
            return Err(KernelError::OtherLayout { name: place.name().into(), map, found, wanted });
        }
    }
    Ok(())
}

/// What is pinned is used again, so it must be of the same size. A process that was killed while it loaded left only some of it.
fn same_sizes(place: &Place, sizes: Sizes) -> Result<(), KernelError> {
    for (map, wanted) in rows(sizes).into_iter().filter(|(map, _)| place.pin(map).exists()) {
        let info =
            pinned(place, map)?.info().map_err(|cause| KernelError::Map { map, cause: Box::new(cause) })?;
        let found = info.max_entries();
        if found != wanted {
            return Err(KernelError::OtherSize { name: place.name().into(), map, found, wanted });
        }
    }
    Ok(())
}

fn refused_map(cause: aya::EbpfError) -> KernelError {
    if is_permission(&cause) {
        return KernelError::Privilege { what: "loading the data path" };
    }
    KernelError::Load { cause: Box::new(cause) }
}

fn refused(cause: ProgramError) -> KernelError {
    if is_permission(&cause)
        && !matches!(&cause, ProgramError::LoadError { verifier_log, .. } if !verifier_log.to_string().is_empty())
    {
        return KernelError::Privilege { what: "loading the data path" };
    }
    KernelError::NoBpf { cause: Box::new(cause) }
}

fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::PermissionDenied
        {
            return true;
        }
        next = error.source();
    }
    false
}
