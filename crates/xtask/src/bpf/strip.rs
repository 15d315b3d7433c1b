//! Takes out of an object what its loader does not read: DWARF. BTF and its line numbers stay.

use anyhow::{Context, Result};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

pub fn strip(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("could not read what the BPF linker wrote")?;
    for section in &mut builder.sections {
        if is_debug(section.name.as_slice()) {
            section.delete = true;
        }
    }
    // Relocations of the sections that are gone, and the symbols that stand for those.
    builder.delete_orphans();
    // LLVM keeps the names of sections and of symbols in one table; the writer wants a table for each.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut bytes = Vec::new();
    builder.write(&mut bytes).context("could not write the BPF object without its debug sections")?;
    Ok(bytes)
}

fn is_debug(section: &[u8]) -> bool {
    [b".debug_".as_slice(), b".rel.debug_", b".rela.debug_"].iter().any(|prefix| section.starts_with(prefix))
}
