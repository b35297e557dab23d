use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes that can be read at any place: a file, or a slice.
pub trait Source {
    fn length(&self) -> io::Result<u64>;

    /// Fills `into` with what stands from `at` on. That the source ends before is an error.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
}

impl Source for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let mut file = self;
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(into)
    }
}

impl Source for [u8] {
    fn length(&self) -> io::Result<u64> {
        u64::try_from(self.len()).map_err(|_| io::ErrorKind::FileTooLarge.into())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let end = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let at = usize::try_from(at).map_err(|_| end())?;
        let to = at.checked_add(into.len()).ok_or_else(end)?;
        into.copy_from_slice(self.get(at..to).ok_or_else(end)?);
        Ok(())
    }
}
