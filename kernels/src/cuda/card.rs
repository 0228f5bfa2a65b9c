//! A card: its facts, and the single stream for all of an engine's work.

use std::sync::Arc;

use cudarc::driver::sys::{CUdevice_attribute, CUresult, cuDriverGetVersion};
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, result};

use super::{CudaError, open_libraries};

/// Minimum compute capability (major), for which the PTX is made.
const LEAST_MAJOR: i32 = 8;

/// What is known about a card without using it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardFacts {
    /// CUDA's device number, from 0.
    pub ordinal: usize,
    /// NVIDIA's name.
    pub name: String,
    /// Compute capability: major and minor.
    pub capability: (i32, i32),
    /// Streaming multiprocessors.
    pub multiprocessors: usize,
    /// Bytes of its memory.
    pub memory_bytes: u64,
    /// Maximum shared memory of one block, in bytes.
    pub shared_bytes: usize,
    /// The CUDA version that the driver supports: 1000 times the major plus 10 times the minor version.
    pub driver: i32,
}

/// A card in use, with one stream. Calls return before the work is done, except those that read something back.
#[derive(Debug, Clone)]
pub struct Card {
    facts: CardFacts,
    pub(super) stream: Arc<CudaStream>,
}

/// A point in a card's work (a CUDA event).
#[derive(Debug)]
pub struct Mark(CudaEvent);

/// All cards of this machine; empty if CUDA's libraries are not installed.
///
/// # Errors
/// The driver is installed but fails.
pub fn cards() -> Result<Vec<CardFacts>, CudaError> {
    open_libraries(None)?;
    (0..count()?).map(CardFacts::read).collect()
}

fn count() -> Result<usize, CudaError> {
    let count = result::init().and_then(|()| result::device::get_count());
    match count {
        Ok(count) => Ok(usize::try_from(count).unwrap_or(0)),
        Err(error) if error.0 == CUresult::CUDA_ERROR_NO_DEVICE => Ok(0),
        Err(error) => Err(CudaError::driver("looking for cards")(error)),
    }
}

// === impl CardFacts ===

impl CardFacts {
    /// Asks the driver, without creating a context, so that other users of the card are not disturbed.
    #[allow(unsafe_code)]
    fn read(ordinal: usize) -> Result<CardFacts, CudaError> {
        let failed = || CudaError::driver("asking for a card's facts");
        let device = result::device::get(ordinal as i32).map_err(failed())?;
        let attribute = |attribute: CUdevice_attribute| {
            // SAFETY: the device is one that the driver has just given.
            unsafe { result::device::get_attribute(device, attribute) }.map_err(failed())
        };
        let size = |number: i32| usize::try_from(number).unwrap_or(0);
        // SAFETY: as above.
        let memory = unsafe { result::device::total_mem(device) }.map_err(failed())?;
        use CUdevice_attribute as Of;
        Ok(CardFacts {
            ordinal,
            name: result::device::get_name(device).map_err(failed())?,
            capability: (
                attribute(Of::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                attribute(Of::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            multiprocessors: size(attribute(Of::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?),
            memory_bytes: memory as u64,
            shared_bytes: size(attribute(
                Of::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
            )?),
            driver: driver_version()?,
        })
    }
}

#[allow(unsafe_code)]
pub(super) fn driver_version() -> Result<i32, CudaError> {
    let mut version = 0;
    // SAFETY: the call writes one int.
    let result = unsafe { cuDriverGetVersion(&raw mut version) };
    result.result().map_err(CudaError::driver("asking the driver for its version"))?;
    Ok(version)
}

// === impl Card ===

impl Card {
    /// Opens a card.
    ///
    /// # Errors
    /// Libraries are missing, the card does not exist, or it is too old.
    pub fn open(ordinal: usize) -> Result<Card, CudaError> {
        open_libraries(None)?;
        let found = count()?;
        if ordinal >= found {
            return Err(CudaError::NoCard { ordinal, found });
        }
        let facts = CardFacts::read(ordinal)?;
        let (major, minor) = facts.capability;
        if major < LEAST_MAJOR {
            return Err(CudaError::TooOld { card: facts.name, major, minor });
        }
        let context = CudaContext::new(ordinal).map_err(CudaError::driver("opening the card"))?;
        #[allow(unsafe_code)]
        // SAFETY: everything goes through one stream, which orders it.
        unsafe {
            context.disable_event_tracking();
        }
        let stream = context.new_stream().map_err(CudaError::driver("making a stream"))?;
        Ok(Card { facts, stream })
    }

    /// The card's facts.
    pub fn facts(&self) -> &CardFacts {
        &self.facts
    }

    /// Free bytes of its memory.
    ///
    /// # Errors
    /// The card is lost.
    pub fn free_bytes(&self) -> Result<u64, CudaError> {
        let info = self.stream.context().mem_get_info();
        let (free, _) = info.map_err(CudaError::driver("asking for free memory"))?;
        Ok(free as u64)
    }

    /// Binds the card's context to the calling thread. A thread must do this before anything else here; opening a card
    /// includes it.
    ///
    /// # Errors
    /// The card is lost.
    pub fn bind(&self) -> Result<(), CudaError> {
        self.stream.context().bind_to_thread().map_err(CudaError::driver("choosing the card"))
    }

    /// Marks the end of all work so far.
    ///
    /// # Errors
    /// The card is lost.
    pub fn mark(&self) -> Result<Mark, CudaError> {
        self.stream.record_event(None).map(Mark).map_err(CudaError::driver("marking work"))
    }

    /// Waits until all work is done.
    ///
    /// # Errors
    /// The work failed: from then on the card is lost to this process.
    pub fn synchronise(&self) -> Result<(), CudaError> {
        self.stream.synchronize().map_err(CudaError::driver("waiting for the card"))
    }
}

// === impl Mark ===

impl Mark {
    /// Waits until all work before the mark is done.
    ///
    /// # Errors
    /// The work failed: from then on the card is lost to this process.
    pub fn wait(&self) -> Result<(), CudaError> {
        self.0.synchronize().map_err(CudaError::driver("waiting for the card"))
    }
}
