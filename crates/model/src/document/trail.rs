//! The way to a place in a document. It is written out only when somebody wants to read it: documents are walked
//! through far more often than something is found in them.

use std::fmt;

use crate::problem::Path;

/// A place, as the steps that lead there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trail<'t> {
    /// The document as a whole.
    Root,
    /// A field, or an element by its name.
    Field(&'t Trail<'t>, &'t str),
    /// An element that has no name, by its number.
    Element(&'t Trail<'t>, usize),
}

impl<'t> Trail<'t> {
    /// The place of a field of what is here.
    pub(crate) const fn field(&'t self, name: &'t str) -> Self {
        Self::Field(self, name)
    }

    /// The place of an element: by its name, or by its number while it has none.
    pub(crate) const fn element(&'t self, name: &'t str, index: usize) -> Self {
        if name.is_empty() { Self::Element(self, index) } else { Self::Field(self, name) }
    }

    /// The last field on the way.
    pub(crate) const fn last_field(&self) -> &str {
        match self {
            Self::Root => "",
            Self::Field(_, name) => name,
            Self::Element(above, _) => above.last_field(),
        }
    }

    /// The first field on the way.
    pub(crate) fn first_field(&self) -> &str {
        match self {
            Self::Root => "",
            Self::Field(Trail::Root, name) => name,
            Self::Field(above, _) | Self::Element(above, _) => above.first_field(),
        }
    }

    /// The place, written out.
    pub(crate) fn path(&self) -> Path {
        match self {
            Self::Root => Path::default(),
            Self::Field(above, name) => above.path().field(name),
            Self::Element(above, index) => above.path().field(&index.to_string()),
        }
    }
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().fmt(out)
    }
}
