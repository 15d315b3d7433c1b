//! What each thing is called in both languages: an entry for each kind of resource, with its fields.

use super::check::Check;
use crate::api::networking::version::Version;

mod balancer;
mod fabric;
mod interface;
mod network;
mod public;
mod security;

/// A kind of resource or child, in both languages.
#[derive(Debug)]
pub struct Entry {
    /// What the Network Controller calls a collection of it.
    pub name: &'static str,
    /// What canonical ids call it.
    pub canonical: &'static str,
    /// Fields of the envelope, beside those that all resources have.
    pub beside: &'static [Field],
    /// Fields of `properties`.
    pub fields: &'static [Field],
    /// What the Network Controller asks of it beyond the ranges of its fields, and what it leaves to be derived.
    pub check: Check,
}

/// A field of an object, in both languages. Names with `/` are within objects.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// What the Network Controller calls it.
    pub name: &'static str,
    /// What canonical documents call it, within `properties`.
    pub canonical: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// The first version that knows it.
    pub since: Version,
    /// The first version that does not know it any more.
    pub until: Option<Version>,
    /// Who may write it.
    pub writer: Writer,
    /// What it is when nobody says.
    pub absent: Absent,
    /// What it is called to write another value than the one that stands, in a version that is older than the field.
    pub frozen: Option<&'static str>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A text.
    Text,
    /// A text, or several with commas between; canonically those are a list of another name.
    TextOrTexts {
        /// The name of the canonical list.
        list: &'static str,
        /// Words that are spelled in another way canonically.
        words: &'static [(&'static str, &'static str)],
    },
    /// A list of texts.
    Texts,
    /// A whole number in a range, with the code for those outside.
    Number {
        /// The smallest.
        least: u64,
        /// The greatest.
        most: u64,
        /// What it is called when it is outside.
        code: &'static str,
    },
    /// True or false.
    Flag,
    /// One of several words, in both languages; those without a canonical one are known and not supported.
    Words {
        /// The words.
        words: &'static [(&'static str, &'static str)],
        /// What it is called when it is none of them.
        code: &'static str,
    },
    /// A hardware address: twelve digits here, with dashes canonically.
    Mac,
    /// A pointer to a resource of one of these collections.
    Reference(&'static [&'static str]),
    /// A list of pointers.
    References(&'static [&'static str]),
    /// A list of pointers of which canonical documents have the first in one field and the rest in another.
    FirstAndRest {
        /// Where they lead.
        to: &'static [&'static str],
        /// The field of the rest.
        rest: &'static str,
    },
    /// A list of objects without envelope.
    Objects(&'static [Field]),
    /// Children, each with its envelope.
    Children(&'static Entry),
    /// Anything, kept as it is.
    Kept,
}

/// Who may write a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// Clients.
    Client,
    /// The server; what clients echo is ignored.
    Server,
    /// Nobody: it steers the request that it is in, and is always shown as false.
    Request,
    /// The members of a pool, which are written where the network interface is.
    Members,
    /// The target of a NAT rule, which is written where the network interface is.
    Target,
}

/// What a field is when nobody says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Absent {
    /// Not there; lists are shown empty.
    Nothing,
    /// Shown as this number.
    Number(u64),
    /// Shown as this flag.
    Flag(bool),
    /// Shown as this word.
    Word(&'static str),
    /// Not allowed, with this code.
    Required(&'static str),
}

impl Field {
    const fn new(name: &'static str, canonical: &'static str, shape: Shape) -> Self {
        Self {
            name,
            canonical,
            shape,
            since: Version::V1,
            until: None,
            writer: Writer::Client,
            absent: Absent::Nothing,
            frozen: None,
        }
    }

    const fn text(name: &'static str, canonical: &'static str) -> Self {
        Self::new(name, canonical, Shape::Text)
    }

    const fn texts(name: &'static str, canonical: &'static str) -> Self {
        Self::new(name, canonical, Shape::Texts)
    }

    const fn number(
        name: &'static str,
        canonical: &'static str,
        least: u64,
        most: u64,
        code: &'static str,
    ) -> Self {
        Self::new(name, canonical, Shape::Number { least, most, code })
    }

    const fn flag(name: &'static str, canonical: &'static str) -> Self {
        Self::new(name, canonical, Shape::Flag)
    }

    const fn words(
        name: &'static str,
        canonical: &'static str,
        words: &'static [(&'static str, &'static str)],
        code: &'static str,
    ) -> Self {
        Self::new(name, canonical, Shape::Words { words, code })
    }

    const fn reference(name: &'static str, canonical: &'static str, to: &'static [&'static str]) -> Self {
        Self::new(name, canonical, Shape::Reference(to))
    }

    const fn references(name: &'static str, canonical: &'static str, to: &'static [&'static str]) -> Self {
        Self::new(name, canonical, Shape::References(to))
    }

    const fn children(entry: &'static Entry) -> Self {
        Self::new(entry.name, entry.canonical, Shape::Children(entry))
    }

    const fn kept(name: &'static str, canonical: &'static str) -> Self {
        Self::new(name, canonical, Shape::Kept)
    }

    const fn since(self, since: Version) -> Self {
        Self { since, ..self }
    }

    const fn until(self, until: Version) -> Self {
        Self { until: Some(until), ..self }
    }

    const fn written_by(self, writer: Writer) -> Self {
        Self { writer, ..self }
    }

    const fn or(self, absent: Absent) -> Self {
        Self { absent, ..self }
    }

    const fn frozen_before(self, code: &'static str) -> Self {
        Self { frozen: Some(code), ..self }
    }

    const fn required(self) -> Self {
        self.or(Absent::Required("RequiredParamMissing"))
    }

    /// What a number outside its range is called.
    #[must_use]
    pub const fn range_code(&self) -> Option<&'static str> {
        if let Shape::Number { code, .. } = self.shape { Some(code) } else { None }
    }

    /// The canonical field that holds a part of it.
    #[must_use]
    pub const fn other(&self) -> Option<&'static str> {
        if let Shape::FirstAndRest { rest: other, .. } | Shape::TextOrTexts { list: other, .. } = self.shape {
            Some(other)
        } else {
            None
        }
    }

    /// Whether a version knows it.
    #[must_use]
    pub fn is_in(&self, version: Version) -> bool {
        self.since <= version && self.until.is_none_or(|until| version < until)
    }
}

impl Entry {
    /// All that are at the top of paths.
    pub const ALL: [&'static Self; 9] = [
        &balancer::LOAD_BALANCERS,
        &public::PUBLIC_IP_ADDRESSES,
        &network::VIRTUAL_NETWORKS,
        &network::LOGICAL_NETWORKS,
        &interface::NETWORK_INTERFACES,
        &security::ACCESS_CONTROL_LISTS,
        &fabric::LOAD_BALANCER_MANAGER,
        &fabric::LOAD_BALANCER_MUXES,
        &fabric::VIRTUAL_SERVERS,
    ];

    /// The entry of a collection at the top of paths, in any case.
    #[must_use]
    pub fn of(name: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|entry| entry.name.eq_ignore_ascii_case(name))
    }

    /// The entry that canonical ids mean by this segment.
    #[must_use]
    pub fn of_canonical(segment: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|entry| entry.canonical.eq_ignore_ascii_case(segment))
    }

    /// The entry of the resource that a pointer leads to or into.
    #[must_use]
    pub fn of_pointer(pointer: &str) -> Option<&'static Self> {
        Self::of(pointer.trim_start_matches('/').split('/').next()?)
    }

    /// Whether there is only one of it.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.name == fabric::LOAD_BALANCER_MANAGER.name
    }

    /// Its collections.
    pub fn collections(&self) -> impl Iterator<Item = &'static Self> + '_ {
        self.fields.iter().filter_map(|field| match field.shape {
            Shape::Children(entry) => Some(entry),
            Shape::Text
            | Shape::TextOrTexts { .. }
            | Shape::Texts
            | Shape::Number { .. }
            | Shape::Flag
            | Shape::Words { .. }
            | Shape::Mac
            | Shape::Reference(_)
            | Shape::References(_)
            | Shape::FirstAndRest { .. }
            | Shape::Objects(_)
            | Shape::Kept => None,
        })
    }

    /// A collection of it by the Network Controller's name, in any case.
    #[must_use]
    pub fn collection(&self, name: &str) -> Option<&'static Self> {
        self.collections().find(|entry| entry.name.eq_ignore_ascii_case(name))
    }

    /// A collection of it by its canonical name, in any case.
    #[must_use]
    pub fn canonical_collection(&self, name: &str) -> Option<&'static Self> {
        self.collections().find(|entry| entry.canonical.eq_ignore_ascii_case(name))
    }
}

/// Where an address is chosen.
const ALLOCATION: &[(&str, &str)] =
    &[("Static", "Static"), ("Dynamic", "Dynamic"), ("Unmanaged", "Unmanaged")];

const INVALID: &str = "InvalidParameterValue";
