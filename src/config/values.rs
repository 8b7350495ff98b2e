//! Values of flags: what their texts mean. Errors say what was expected; the flag stands in front of them.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tenbin_model::text::duration::parse_duration_ms;
use tenbin_storage::WalSync;

/// Milliseconds, as Prometheus writes a duration.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    parse_duration_ms(text).map_err(|e| e.to_string())
}

/// A duration above zero.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        ms if ms > 0 => Ok(Duration::from_millis(ms.unsigned_abs())),
        _ => Err("must be above zero".to_owned()),
    }
}

/// A size as Prometheus writes it: `512MB`, powers of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "B" => 0,
        "" if text == "0" => 0,
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        "PB" => 50,
        "EB" => 60,
        _ => return Err("expected a number with a unit: B, KB, MB, GB, TB, PB, EB".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "expected a number before the unit".to_owned())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "size out of range".to_owned())
}

/// A size with the largest unit that divides it.
pub(crate) fn format_size(bytes: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
    let steps = if bytes == 0 {
        0
    } else {
        bytes.trailing_zeros() / 10
    };
    format!("{}{}", bytes >> (10 * steps), units[steps as usize])
}

/// `group`, `segment` or `interval=DURATION`.
pub(super) fn wal_sync(text: &str) -> Result<WalSync, String> {
    match text {
        "group" => Ok(WalSync::Group),
        "segment" => Ok(WalSync::Segment),
        _ => {
            let Some(interval) = text.strip_prefix("interval=") else {
                return Err("expected group, interval=DURATION or segment".to_owned());
            };
            let interval_ms = duration(interval)?;
            if interval_ms <= 0 {
                return Err("the interval must be above zero".to_owned());
            }
            Ok(WalSync::Interval(Duration::from_millis(interval_ms as u64)))
        }
    }
}

/// `:9090`, `host:9090` or `[::1]:9090`.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.to_owned()
    };
    full.to_socket_addrs()
        .ok()
        .and_then(|mut all| all.next())
        .ok_or_else(|| format!("cannot resolve {text:?} (flag --web.listen-address)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read() {
        assert_eq!(size("512MB"), Ok(512 << 20));
        assert!(size("5").is_err() && size("5XB").is_err() && size("99EB").is_err());
        assert_eq!(format_size(3 << 30), "3GB");
        assert_eq!(timeout("1m30s"), Ok(Duration::from_secs(90)));
        assert!(timeout("0").is_err() && timeout("x").is_err());
        assert_eq!(
            wal_sync("interval=1s"),
            Ok(WalSync::Interval(Duration::from_secs(1)))
        );
        assert!(wal_sync("interval=0s").is_err() && wal_sync("never").is_err());
    }
}
