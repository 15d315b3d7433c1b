//! Loading the object, and opening what an earlier process left.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use aya::maps::{Map, MapData, PerCpuArray};
use aya::programs::{ProgramError, Xdp};
use aya::{EbpfLoader, include_bytes_aligned};
use aya_obj::programs::XdpAttachType;
use engine::{Name, Sizes};
use plane::row::{
    ADDRESS_PLACES, DOWN_WORDS, LINK_PLACES, MAX_ADDRESSES, MAX_MEMBERS, MAX_RULES, RETURN_PLACES,
    RING_WORDS, RULE_PLACES,
};

use crate::error::KernelError;
use crate::maps::{Counters, Words};
use crate::pin::Place;
use crate::{Kernel, Options};

static OBJECT: &[u8] = include_bytes_aligned!("../bpf/forebay.bpf.o");

const TABLES: [(Name, &str); 8] = [
    (Name::Config, "CONFIG"),
    (Name::Links, "LINKS"),
    (Name::Addresses, "ADDRESSES"),
    (Name::Rules, "RULES"),
    (Name::Returns, "RETURNS"),
    (Name::Slots, "SLOTS"),
    (Name::Down, "DOWN"),
    (Name::Members, "MEMBERS"),
];
const MEMORIES: [&str; 3] = ["FLOWS", "OUTWARD", "INWARD"];
const COUNTERS: [&str; 4] = ["RULE_COUNTS", "MEMBER_COUNTS", "UNMATCHED_COUNTS", "REASON_COUNTS"];
const NOW: &str = "now";

/// Rows of every map that has others than the object says, or that must have as many as we think.
fn rows(sizes: Sizes) -> [(&'static str, u32); 13] {
    [
        ("CONFIG", 1),
        ("LINKS", LINK_PLACES),
        ("ADDRESSES", ADDRESS_PLACES),
        ("RULES", RULE_PLACES),
        ("RETURNS", RETURN_PLACES),
        ("SLOTS", sizes.rings * RING_WORDS),
        ("DOWN", sizes.rings * DOWN_WORDS),
        ("MEMBERS", MAX_MEMBERS),
        ("FLOWS", 1 << sizes.flow_bits),
        ("OUTWARD", 1 << sizes.masquerade_bits),
        ("INWARD", 1 << sizes.masquerade_bits),
        ("RULE_COUNTS", MAX_RULES),
        ("UNMATCHED_COUNTS", MAX_ADDRESSES),
    ]
}

pub(crate) fn open(options: &Options) -> Result<Kernel, KernelError> {
    let place = &options.place;
    let lock = place.lock()?;
    place.make()?;
    let taken_over = place.pin("CONFIG").exists();
    same_sizes(place, options.sizes)?;
    let pins: Vec<(&str, std::path::PathBuf)> = TABLES
        .iter()
        .map(|(_, name)| *name)
        .chain(MEMORIES)
        .chain(COUNTERS)
        .map(|name| (name, place.pin(name)))
        .collect();
    let mut loader = EbpfLoader::new();
    for (name, rows) in rows(options.sizes) {
        loader.map_max_entries(name, rows);
    }
    for (name, pin) in &pins {
        loader.map_pin_path(name, pin.as_path());
    }
    let mut object = loader.load(OBJECT).map_err(refused_map)?;

    let now = program(&mut object, "forebay_now")?;
    load_program(now).map_err(refused)?;
    let pin = place.pin(NOW);
    if pin.exists() {
        crate::pin::remove(&pin)?;
    }
    now.pin(&pin).map_err(|cause| KernelError::Pin { path: pin, cause: Box::new(cause) })?;
    load_program(program(&mut object, "forebay")?).map_err(refused)?;
    let maps = pins.iter().map(|(name, _)| (*name, map_of(&mut object, name))).collect();
    build(place, maps, Programs::Loaded(object), taken_over, Some(lock))
}

pub(crate) fn look(place: &Place) -> Result<Kernel, KernelError> {
    if !place.pin("CONFIG").exists() {
        return Err(place.missing());
    }
    let names = TABLES.iter().map(|(_, name)| *name).chain(MEMORIES).chain(COUNTERS);
    let maps = names.map(|name| (name, pinned(place, name))).collect();
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
    let [flows, outward, inward] = MEMORIES;
    let [rules, members, unmatched, reasons] = COUNTERS;
    Ok(Kernel {
        place: place.clone(),
        words,
        flows: Words::map(flows, &data(flows)?, 8)?,
        outward: Words::map(outward, &data(outward)?, 8)?,
        inward: Words::map(inward, &data(inward)?, 8)?,
        rule_counts: Counters::Four(rules, per_cpu(rules, data(rules)?)?),
        member_counts: Counters::Four(members, per_cpu(members, data(members)?)?),
        unmatched_counts: Counters::One(unmatched, per_cpu(unmatched, data(unmatched)?)?),
        reason_counts: Counters::Two(reasons, per_cpu(reasons, data(reasons)?)?),
        programs,
        taken_over,
        _lock: lock,
    })
}

fn per_cpu<V: aya::Pod>(name: &'static str, data: MapData) -> Result<PerCpuArray<MapData, V>, KernelError> {
    Map::PerCpuArray(data).try_into().map_err(|cause| KernelError::Map { map: name, cause: Box::new(cause) })
}

/// The programs, as far as this process has them.
pub(crate) enum Programs {
    /// All of them.
    Loaded(aya::Ebpf),
    /// The one that tells the time.
    Clock(Box<Xdp>),
}

impl Programs {
    pub(crate) fn clock(&self) -> Result<&Xdp, KernelError> {
        match self {
            Self::Clock(now) => Ok(now),
            Self::Loaded(object) => {
                let name = "forebay_now";
                let now = object.program(name).ok_or(KernelError::Part { name })?;
                now.try_into().map_err(|_| KernelError::Part { name })
            }
        }
    }

    pub(crate) fn balancer(&mut self) -> Result<&mut Xdp, KernelError> {
        match self {
            Self::Clock(_) => Err(KernelError::LookingOnly),
            Self::Loaded(object) => program(object, "forebay"),
        }
    }
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Loaded(_) => "Loaded",
            Self::Clock(_) => "Clock",
        })
    }
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

fn pinned(place: &Place, name: &'static str) -> Result<MapData, KernelError> {
    MapData::from_pin(place.pin(name)).map_err(|cause| KernelError::Map { map: name, cause: Box::new(cause) })
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
