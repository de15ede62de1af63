//! The few data types of Stratum V2 that the probe speaks, written apart from the crates that the module uses.

/// Bytes ended before the message did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message ends early")]
pub struct Short;

/// Writes a payload, little-endian throughout.
#[derive(Debug, Default, Clone)]
pub struct Writer(Vec<u8>);

impl Writer {
    pub fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }
    pub fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    pub fn f32(mut self, value: f32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    pub fn fixed(mut self, value: &[u8]) -> Self {
        self.0.extend(value);
        self
    }
    /// A length of one byte and as many bytes; what is longer than 255 is cut.
    pub fn short(mut self, value: &[u8]) -> Self {
        let kept = &value[..value.len().min(255)];
        self.0.push(kept.len() as u8);
        self.0.extend(kept);
        self
    }
    pub fn done(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a payload.
#[derive(Debug, Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(payload: &'a [u8]) -> Self {
        Self(payload)
    }
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Short> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(Short)?;
        self.0 = rest;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        self.take(N)?.try_into().map_err(|_| Short)
    }
    pub fn u8(&mut self) -> Result<u8, Short> {
        Ok(self.array::<1>()?[0])
    }
    pub fn u16(&mut self) -> Result<u16, Short> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    pub fn u32(&mut self) -> Result<u32, Short> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    pub fn u64(&mut self) -> Result<u64, Short> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    pub fn hash(&mut self) -> Result<[u8; 32], Short> {
        self.array()
    }
    /// Bytes behind a length of one byte.
    pub fn short(&mut self) -> Result<&'a [u8], Short> {
        let length = self.u8()?;
        self.take(length.into())
    }
    /// Bytes behind a length of two bytes.
    pub fn long(&mut self) -> Result<&'a [u8], Short> {
        let length = self.u16()?;
        self.take(length.into())
    }
    pub fn optional_u32(&mut self) -> Result<Option<u32>, Short> {
        Ok(if self.u8()? == 0 {
            None
        } else {
            Some(self.u32()?)
        })
    }
}
