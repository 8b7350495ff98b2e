//! Whether everything that is there is intact.

use std::path::Path;

use super::{InspectError, Kind, block, directory, kind_of, wal};
use crate::block::format;
use crate::error::Corruption;
use crate::vfs::Vfs;

/// What was read, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Samples decoded.
    pub samples: u64,
    /// Each damage once.
    pub damage: Vec<Corruption>,
    /// What is no damage but worth knowing: torn tails, leftovers, what was set aside.
    pub notes: Vec<String>,
}

/// Reads everything at a path, verifies all checksums and decodes every unit. `progress` is told
/// each file before it is read.
///
/// # Errors
/// When the path is nothing of Tenbin's or cannot be read. Damage is no error.
pub fn verify(
    vfs: &dyn Vfs,
    path: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<VerifyReport, InspectError> {
    let mut report = VerifyReport::default();
    let name = path.display().to_string();
    match kind_of(vfs, path)? {
        Kind::Directory => directory(vfs, path, progress, &mut report)?,
        Kind::Block => {
            progress(&name);
            check_block(vfs, path, &name, &mut report)?;
        }
        Kind::Segment => {
            progress(&name);
            let (view, _) = wal::read(vfs, path, &name, None)?;
            note_segment(&view, &mut report);
        }
        Kind::Manifest => {
            let dir = path.parent().unwrap_or(Path::new("."));
            let manifest = directory::manifest_view(vfs, dir)?;
            report.files += 1;
            report.damage.extend(manifest.damage);
        }
    }
    Ok(report)
}

/// Reads a block; returns its time range when it could be opened.
fn check_block(
    vfs: &dyn Vfs,
    path: &Path,
    name: &str,
    report: &mut VerifyReport,
) -> Result<Option<(i64, i64)>, InspectError> {
    let block = match block::open(vfs, path, name) {
        Ok(block) => block,
        Err(InspectError::Corrupt(damage)) => {
            report.files += 1;
            report.damage.push(damage);
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    report.files += 1;
    report.bytes += block.file_bytes();
    report.samples += block.header().sample_count;
    block.check(&mut |damage| report.damage.push(damage));
    Ok(Some((block.header().min_ms, block.header().max_ms)))
}

fn note_segment(view: &super::SegmentView, report: &mut VerifyReport) {
    report.files += 1;
    report.bytes += view.file_bytes;
    let rows = view
        .records
        .iter()
        .filter(|r| r.name.ends_with("samples") || r.name == "histograms");
    report.samples += rows.map(|r| r.items).sum::<u64>();
    report.damage.extend(view.damage.iter().cloned());
    if view.torn_bytes > 0 && view.damage.is_empty() {
        report.notes.push(format!(
            "{}: {} bytes at its end are no whole frame: a crash, or a server at work",
            view.file, view.torn_bytes
        ));
    }
}

fn directory(
    vfs: &dyn Vfs,
    dir: &Path,
    progress: &mut dyn FnMut(&str),
    report: &mut VerifyReport,
) -> Result<(), InspectError> {
    progress("MANIFEST");
    let manifest = directory::manifest_view(vfs, dir)?;
    report.files += u64::from(manifest.present);
    report.damage.extend(manifest.damage.clone());
    let (seqs, notes) = directory::block_files(vfs, dir, &manifest)?;
    report.notes.extend(notes);
    if !manifest.present && !seqs.is_empty() {
        let damage = Corruption::new("MANIFEST", 0, "a manifest", "no file");
        report.damage.push(damage);
    }
    for seq in seqs {
        let name = format::file_name(seq);
        let file = format!("blocks/{name}");
        progress(&file);
        let stated = manifest.blocks.iter().find(|block| block.0 == seq);
        match check_block(vfs, &dir.join("blocks").join(&name), &file, report) {
            Ok(Some((min_ms, max_ms))) => {
                if let Some(stated) = stated
                    && (stated.1, stated.2) != (min_ms, max_ms)
                {
                    let expected =
                        format!("times {} to {}, as the manifest says", stated.1, stated.2);
                    let found = format!("{min_ms} to {max_ms}");
                    report
                        .damage
                        .push(Corruption::new(file, 0, expected, found));
                }
            }
            Ok(None) => {}
            Err(error) if directory::is_gone(&error) => {
                // A server may have merged it away since.
                let again = directory::manifest_view(vfs, dir)?;
                if again.blocks.iter().any(|block| block.0 == seq) {
                    report
                        .damage
                        .push(Corruption::new(file, 0, "a block", "no file"));
                }
            }
            Err(error) => return Err(error),
        }
    }
    let (seqs, notes) = directory::segment_files(vfs, dir)?;
    report.notes.extend(notes);
    progress("wal");
    for view in directory::segments(vfs, dir, &seqs)? {
        note_segment(&view, report);
    }
    Ok(())
}
