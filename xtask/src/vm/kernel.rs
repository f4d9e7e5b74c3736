//! A kernel of Debian's, unpacked and never installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::process;

/// What the guests need beyond what is built into the kernel.
const MODULES: &[&str] = &["veth"];

/// An unpacked kernel package.
pub struct Kernel {
    /// As `uname -r` says it.
    pub release: String,
    /// What to boot.
    pub image: PathBuf,
    modules: PathBuf,
}

impl Kernel {
    /// The newest package that apt knows whose name matches.
    pub fn name(pattern: &str) -> Option<String> {
        let names = process::output(Command::new("apt-cache").args(["pkgnames", "linux-image-"]))?;
        newest(names.lines().filter(|name| matches(pattern, name))).map(str::to_owned)
    }

    /// Downloads and unpacks, once, the newest package whose name matches.
    ///
    /// # Errors
    /// There is none, or it cannot be downloaded.
    pub fn fetch(pattern: &str) -> Result<Self> {
        let name = &Self::name(pattern)
            .with_context(|| format!("no package is named {pattern} (is `apt-get update` due?)"))?;

        let cache = cache();
        let folder = cache.join(name);
        if !folder.is_dir() {
            fs::create_dir_all(&cache)?;
            let download = tempfile::tempdir_in(&cache)?;
            let mut apt_get = Command::new("apt-get");
            apt_get.args(["-q", "-o", "APT::Sandbox::User=root", "download", name]);
            process::run(apt_get.current_dir(&download))?;
            let package = the_file_in(download.path(), "linux-image-")?;
            let unpacked = download.path().join("unpacked");
            process::run(Command::new("dpkg").arg("-x").args([&package, &unpacked]))?;
            fs::rename(&unpacked, &folder)?;
        }
        let image = the_file_in(&folder.join("boot"), "vmlinuz-")?;
        let release =
            image.to_string_lossy().rsplit_once("/vmlinuz-").expect("its prefix").1.to_owned();
        let places =
            ["lib/modules", "usr/lib/modules"].map(|place| folder.join(place).join(&release));
        let modules = places.into_iter().find(|place| place.is_dir());
        let modules = modules.with_context(|| format!("no modules in {}", folder.display()))?;
        Ok(Self { release, image, modules })
    }

    /// Where to write what a guest with this kernel prints.
    pub fn log(&self) -> PathBuf {
        cache().join(format!("{}.log", self.release))
    }

    /// Writes the modules that the guests need to a folder, so that they load in the order of their
    /// names.
    ///
    /// # Errors
    /// One is not in the package, or is packed in a way that is unknown here.
    pub fn copy_modules(&self, folder: &Path) -> Result<()> {
        let builtin = fs::read_to_string(self.modules.join("modules.builtin"))?;
        for (number, name) in MODULES.iter().enumerate() {
            if builtin.contains(&format!("/{name}.ko")) {
                continue;
            }
            let mut find = Command::new("find");
            find.arg(&self.modules).args(["-name", &format!("{name}.ko*")]);
            let path = process::output(&mut find).filter(|path| !path.is_empty());
            let path = path.with_context(|| format!("{} has no module {name}", self.release))?;
            let file = fs::File::create(folder.join(format!("{number}-{name}.ko")))?;
            let unpack = if path.ends_with(".xz") { "xzcat" } else { "cat" };
            process::run(Command::new(unpack).arg(path).stdout(Stdio::from(file)))?;
        }
        Ok(())
    }
}

fn cache() -> PathBuf {
    process::root().join("target/vm")
}

/// Whether `name` is the pattern, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            (0..=name.len()).any(|at| name.is_char_boundary(at) && matches(rest, &name[at..]))
        }),
    }
}

/// The one with the highest numbers.
fn newest<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let numbers = |name: &&str| -> Vec<u64> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
    };
    names.max_by_key(numbers)
}

fn the_file_in(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    ensure!(found.len() == 1, "{} files {prefix}* in {}", found.len(), folder.display());
    Ok(found.remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_package_of_a_pattern_is_taken() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.12.1-cloud-amd64",
        ];
        let matching =
            names.into_iter().filter(|name| matches("linux-image-6.1.*-cloud-amd64", name));
        assert_eq!(newest(matching), Some("linux-image-6.1.0-56-cloud-amd64"));
    }
}
