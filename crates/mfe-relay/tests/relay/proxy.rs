//! A poor link between the till and its broker: slow, and cut now and then. It stands in for netem(8), which not
//! every kernel has; what TCP makes of lost packets is just that, less and later.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A link.
pub struct Proxy {
    /// Where its near end is.
    pub port: u16,
    /// How many bytes have gone to the broker.
    pub bytes: Arc<AtomicUsize>,
    /// How many connections were made.
    pub connections: Arc<AtomicUsize>,
}

impl Proxy {
    /// To a port, with so many bytes a second each way, and cut after so many to the broker.
    pub fn new(to: u16, rate: usize, cut: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (bytes, connections) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let proxy = Self {
            port,
            bytes: bytes.clone(),
            connections: connections.clone(),
        };
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::Relaxed);
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else {
                    continue;
                };
                let back = (far.try_clone().unwrap(), near.try_clone().unwrap());
                let bytes = bytes.clone();
                thread::spawn(move || carry(near, far, rate, cut, &bytes));
                thread::spawn(move || {
                    carry(back.0, back.1, rate, usize::MAX, &AtomicUsize::new(0));
                });
            }
        });
        proxy
    }
}

/// Carries bytes one way, a tenth of a second's at a time.
fn carry(mut from: TcpStream, mut to: TcpStream, rate: usize, cut: usize, bytes: &AtomicUsize) {
    let mut buffer = vec![0; (rate / 10).max(1)];
    let mut carried = 0;
    while carried < cut {
        match from.read(&mut buffer) {
            Ok(length) if length > 0 && to.write_all(&buffer[..length]).is_ok() => {
                carried += length;
                bytes.fetch_add(length, Ordering::Relaxed);
                let micros = length * 1_000_000 / rate;
                thread::sleep(Duration::from_micros(u64::try_from(micros).unwrap()));
            }
            _ => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
