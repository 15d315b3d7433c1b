//! What is wrong with a request, in the Network Controller's words.

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Where: the pointer of the resource or child, and the field.
    pub target: String,
    /// The Network Controller's code.
    pub code: String,
    /// What is wrong, and how to mend it.
    pub message: String,
}

impl Finding {
    /// A mistake at a field of something, or at the thing itself if the field is empty.
    pub fn at(owner: &str, field: &str, code: &str, message: impl Into<String>) -> Self {
        let target = match field {
            "" => owner.to_owned(),
            field => format!("{owner}/{field}"),
        };
        Self { target, code: code.to_owned(), message: message.into() }
    }

    /// Whether it is of one value, and the rest can be judged without it.
    #[must_use]
    pub fn is_of_a_value(&self) -> bool {
        let shape = ["InvalidRequestFormat", "InvalidResourceName", "RuleNameDuplicate"];
        !(shape.contains(&self.code.as_str()) || self.target.ends_with("/resourceId"))
    }
}
