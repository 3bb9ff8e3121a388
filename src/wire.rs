//! What init and the payload tell the supervisor: records of one fixed size over a SEQPACKET socket. The supervisor decodes
//! them as hostile input. No heap, no panic: the child encodes between clone and exec.

/// The size of every record, in bytes.
pub const RECORD_SIZE: usize = 64;

/// CPU time and the rest of `struct rusage` that we use, summed over what init reaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// User time in microseconds.
    pub user_us: u64,
    /// System time in microseconds.
    pub system_us: u64,
    /// The largest resident set of one process, in KiB.
    pub maxrss_kib: u64,
    /// Voluntary context switches.
    pub voluntary: u64,
    /// Involuntary context switches.
    pub involuntary: u64,
}

/// In which list of the plan a step failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the steps: the child could not even start (waiting for `go`, cloning the payload).
    Init,
    /// In the room steps.
    Room,
    /// In the payload steps.
    Payload,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Step `step` of `phase` failed; `detail` says at which of its system calls, counted from 0.
    Failed {
        /// The list.
        phase: Phase,
        /// The index in it.
        step: u16,
        /// Which system call of the step.
        detail: u16,
        /// The kernel's answer.
        errno: i32,
    },
    /// The room is ready; descriptors travel with it, in the order of `step::Step::Hand`.
    Room,
    /// The listener of the refusals; its descriptor travels with it.
    Listener,
    /// The payload waits for `start` before its last steps.
    Ready,
    /// The main program ended with this wait status.
    Exited {
        /// As wait4(2) gives it.
        wait_status: i32,
        /// The main program's own and its reaped children's use.
        reaped: Reaped,
    },
    /// Nothing is left inside.
    Finished {
        /// Processes that outlived the main program.
        left_running: u32,
        /// Everything that init reaped.
        reaped: Reaped,
    },
    /// Init's own later watchdog ended the run: the supervisor was stopped or slow.
    Watchdog,
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

fn put(bytes: &mut [u8; RECORD_SIZE], word: usize, value: u64) {
    if let Some(place) = bytes.get_mut(word * 8..word * 8 + 8) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

fn get(bytes: &[u8; RECORD_SIZE], word: usize) -> u64 {
    let mut value = [0; 8];
    if let Some(place) = bytes.get(word * 8..word * 8 + 8) {
        value.copy_from_slice(place);
    }
    u64::from_le_bytes(value)
}

impl Reaped {
    fn encode(self, bytes: &mut [u8; RECORD_SIZE]) {
        put(bytes, 2, self.user_us);
        put(bytes, 3, self.system_us);
        put(bytes, 4, self.maxrss_kib);
        put(bytes, 5, self.voluntary);
        put(bytes, 6, self.involuntary);
    }

    fn decode(bytes: &[u8; RECORD_SIZE]) -> Self {
        Reaped {
            user_us: get(bytes, 2),
            system_us: get(bytes, 3),
            maxrss_kib: get(bytes, 4),
            voluntary: get(bytes, 5),
            involuntary: get(bytes, 6),
        }
    }
}

impl Record {
    /// The record's bytes: word 0 is the kind, word 1 its argument, then `Reaped`; the rest is zero.
    pub fn encode(self) -> [u8; RECORD_SIZE] {
        let mut bytes = [0; RECORD_SIZE];
        match self {
            Record::Failed { phase, step, detail, errno } => {
                put(&mut bytes, 0, 1);
                let phase: u64 = match phase {
                    Phase::Init => 0,
                    Phase::Room => 1,
                    Phase::Payload => 2,
                };
                put(&mut bytes, 1, phase << 32 | u64::from(step) << 16 | u64::from(detail));
                put(&mut bytes, 2, u64::from(errno as u32));
            }
            Record::Room => put(&mut bytes, 0, 2),
            Record::Listener => put(&mut bytes, 0, 3),
            Record::Ready => put(&mut bytes, 0, 4),
            Record::Exited { wait_status, reaped } => {
                put(&mut bytes, 0, 5);
                put(&mut bytes, 1, u64::from(wait_status as u32));
                reaped.encode(&mut bytes);
            }
            Record::Finished { left_running, reaped } => {
                put(&mut bytes, 0, 6);
                put(&mut bytes, 1, u64::from(left_running));
                reaped.encode(&mut bytes);
            }
            Record::Watchdog => put(&mut bytes, 0, 7),
        }
        bytes
    }

    /// The record of exactly these bytes.
    ///
    /// # Errors
    /// Any other length, an unknown kind, or a word out of range.
    pub fn decode(bytes: &[u8]) -> Result<Record, Malformed> {
        let bytes: &[u8; RECORD_SIZE] = bytes.try_into().map_err(|_| Malformed)?;
        let argument = get(bytes, 1);
        let small = |value: u64| u32::try_from(value).map_err(|_| Malformed);
        let record = match get(bytes, 0) {
            1 => Record::Failed {
                phase: match argument >> 32 {
                    0 => Phase::Init,
                    1 => Phase::Room,
                    2 => Phase::Payload,
                    _ => return Err(Malformed),
                },
                step: (argument >> 16) as u16,
                detail: argument as u16,
                errno: match small(get(bytes, 2))? {
                    errno @ 1..=4095 => errno as i32,
                    _ => return Err(Malformed),
                },
            },
            2 => Record::Room,
            3 => Record::Listener,
            4 => Record::Ready,
            5 => Record::Exited { wait_status: small(argument)? as i32, reaped: Reaped::decode(bytes) },
            6 => Record::Finished { left_running: small(argument)?, reaped: Reaped::decode(bytes) },
            7 => Record::Watchdog,
            _ => return Err(Malformed),
        };
        // One spelling per record: whatever else is set was not written by us.
        if record.encode() == *bytes { Ok(record) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_a_round_trip_and_nothing_else_decodes() {
        let reaped = Reaped { user_us: 1, system_us: u64::MAX, maxrss_kib: 3, voluntary: 4, involuntary: 5 };
        for record in [
            Record::Failed { phase: Phase::Payload, step: 65535, detail: 7, errno: 13 },
            Record::Room,
            Record::Listener,
            Record::Ready,
            Record::Exited { wait_status: -1, reaped },
            Record::Finished { left_running: 9, reaped },
            Record::Watchdog,
        ] {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Ok(record));
            assert_eq!(Record::decode(&bytes[..63]), Err(Malformed));
            let mut longer = bytes.to_vec();
            longer.push(0);
            assert_eq!(Record::decode(&longer), Err(Malformed));
            let mut dirty = bytes;
            dirty[63] = 1;
            assert_eq!(Record::decode(&dirty), Err(Malformed));
        }
        assert_eq!(Record::decode(&[0; RECORD_SIZE]), Err(Malformed));
    }
}
