//! Files that are replaced as a whole: the configuration and the users.
//!
//! The new text is written beside the old file and takes its name in one step, so that there is
//! always one of the two, and never a half.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Who may read a file that was not there before: it holds passwords, or their hashes.
const NEW_FILE_MODE: u32 = 0o600;

/// Puts `text` in the place of a file, of which the permissions stay. Cost: O(bytes), and the
/// system's for having them on the disk.
///
/// # Errors
/// Those of the system; the file is then as it was.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = folder.join(name);
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(NEW_FILE_MODE);
        let mut file = options.open(&temporary)?;
        if let Ok(old) = fs::metadata(&path) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(folder)?.sync_all()
    };
    write().inspect_err(|_| {
        // The reason is that of the failure before; the leftover may not even be there.
        let _gone = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_new_file_is_for_its_owner_alone_and_an_old_one_keeps_its_permissions() {
        let name = format!("my_redis-whole-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("users");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        replace(&path, b"first").unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode()), (b"first".to_vec(), 0o600));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, b"second").unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode()), (b"second".to_vec(), 0o640));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert!(replace(&folder.join("none/users"), b"x").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
