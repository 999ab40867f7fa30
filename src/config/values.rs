//! Values that a setting can have beyond those of TOML: how each is read, shown and written. Which setting
//! takes which is said by the module of its section, [`super::check`] for most.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::Serializer;

use mfe_common::duration::setting;

/// The most a share of one core can be: a hundred cores, in percent.
const MAX_PERCENT: u32 = 10_000;

/// Where to connect to. There are no host names but one: the static binary has no resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpAddress {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A port of this machine.
    Localhost(u16),
}

/// A number of bytes, shown in the largest unit that needs no fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A share of one core in percent: a process on several may take more than 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u32);

/// The time from one minute of the day, inclusive, to another, exclusive; it may go on past midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimesOfDay {
    begin: u16,
    end: u16,
}

impl TcpAddress {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let address = match text.strip_prefix("localhost:") {
            Some(port) => Self::Localhost(port.parse().ok()?),
            None => Self::Ip(text.parse().ok()?),
        };
        (address.port() != 0).then_some(address)
    }

    fn port(self) -> u16 {
        match self {
            Self::Ip(address) => address.port(),
            Self::Localhost(port) => port,
        }
    }

    /// Whether it is on this machine only, and not to be reached from elsewhere.
    #[must_use]
    pub fn is_loopback(self) -> bool {
        match self {
            Self::Ip(address) => address.ip().is_loopback(),
            Self::Localhost(_) => true,
        }
    }

    /// The addresses that it stands for; one of them is enough.
    pub fn candidates(self) -> impl Iterator<Item = SocketAddr> {
        let (first, second) = match self {
            Self::Ip(address) => (address, None),
            Self::Localhost(port) => {
                let second = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
                let first = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
                (first, Some(second))
            }
        };
        std::iter::once(first).chain(second)
    }
}

impl fmt::Display for TcpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Localhost(port) => write!(f, "localhost:{port}"),
        }
    }
}

impl ByteSize {
    /// The units, the larger ones first, as systemd (1024) and disk makers (1000) have them.
    const UNITS: [(&'static str, u64); 7] = [
        ("GiB", 1 << 30),
        ("GB", 1_000_000_000),
        ("MiB", 1 << 20),
        ("MB", 1_000_000),
        ("KiB", 1 << 10),
        ("KB", 1_000),
        ("B", 1),
    ];

    pub(super) fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(end);
        let unit = unit.trim_start();
        let mut units = Self::UNITS.iter();
        let (_, factor) = units.find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        number.parse::<u64>().ok()?.checked_mul(*factor).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut units = Self::UNITS.iter();
        let whole = units.find(|(_, factor)| self.0 % factor == 0);
        let (unit, factor) = whole.unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl Percent {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?.trim_end();
        let number = number.parse().ok()?;
        (1..=MAX_PERCENT).contains(&number).then_some(Self(number))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl TimesOfDay {
    /// Whether a minute of the day, counted from 0, is in it.
    #[must_use]
    pub fn contains(self, minute: u16) -> bool {
        if self.begin < self.end {
            (self.begin..self.end).contains(&minute)
        } else {
            minute >= self.begin || minute < self.end
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (begin, end) = text.split_once('-')?;
        let (begin, end) = (minute_of_day(begin.trim())?, minute_of_day(end.trim())?);
        (begin != end).then_some(Self { begin, end })
    }
}

impl fmt::Display for TimesOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = |minute: u16| (minute / 60, minute % 60);
        let ((hour, minute), (end_hour, end_minute)) = (parts(self.begin), parts(self.end));
        write!(f, "{hour:02}:{minute:02}-{end_hour:02}:{end_minute:02}")
    }
}

/// A time such as 03:00, in minutes from midnight.
fn minute_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>, end: u16| {
        let is_number = digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let number = is_number.then(|| text.parse::<u16>().ok()).flatten()?;
        (number < end).then_some(number)
    };
    Some(number(hour, 1..=2, 24)? * 60 + number(minute, 2..=2, 60)?)
}

pub(super) fn as_duration<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&setting(*duration))
}

pub(super) fn as_text<S: Serializer>(
    value: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
