//! File systems of our own, mounted for a test: needs root and, for the power switch, `xfs_io` (package
//! xfsprogs).

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a program to its end.
///
/// # Errors
/// With its output when it fails.
pub fn shell(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub struct Mount {
    /// Where it is mounted.
    pub dir: PathBuf,
    image: Option<PathBuf>,
}

impl Mount {
    /// A tmpfs of so many MiB.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn tmpfs(dir: &Path, mib: u64) -> Result<Self, String> {
        std::fs::create_dir_all(dir).map_err(|e| e.to_string())?;
        let size = format!("size={mib}m");
        let place = dir.display().to_string();
        shell("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &place])?;
        Ok(Self {
            dir: dir.to_owned(),
            image: None,
        })
    }

    /// A loop image of so many MiB with a file system of a kind (`ext4` or `xfs`).
    ///
    /// # Errors
    /// When it cannot be made or mounted.
    pub fn image(dir: &Path, image: &Path, kind: &str, mib: u64) -> Result<Self, String> {
        std::fs::create_dir_all(dir).map_err(|e| e.to_string())?;
        let path = image.display().to_string();
        shell("truncate", &["-s", &format!("{mib}M"), &path])?;
        let make = format!("mkfs.{kind}");
        shell(&make, &[if kind == "xfs" { "-qf" } else { "-qF" }, &path])?;
        let mount = Self {
            dir: dir.to_owned(),
            image: Some(image.to_owned()),
        };
        mount.attach()?;
        Ok(mount)
    }

    fn attach(&self) -> Result<(), String> {
        let Some(image) = &self.image else {
            return Ok(());
        };
        let (image, place) = (image.display().to_string(), self.dir.display().to_string());
        shell("mount", &["-o", "loop", &image, &place]).map(|_| ())
    }

    /// Cuts the power: what was not synced is gone, and the file system is mounted anew.
    ///
    /// # Errors
    /// When the medium does not come back.
    pub fn power_cut(&self) -> Result<(), String> {
        let place = self.dir.display().to_string();
        shell("xfs_io", &["-x", "-c", "shutdown", &place])?;
        shell("umount", &[&place])?;
        self.attach()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = shell("umount", &["-l", &self.dir.display().to_string()]);
    }
}
