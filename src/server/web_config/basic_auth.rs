//! Users with bcrypt hashes.
//!
//! A wrong user costs as much as a wrong password. Good pairs are remembered under a keyed hash in which the
//! parts are told apart by their lengths; only one bcrypt runs at a time, so that a flood of logins
//! takes at most one core.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;

use crate::settings::Secret;

/// Good pairs remembered at most.
const MAX_REMEMBERED: usize = 100;

/// The users of a configuration.
pub struct Users {
    hashes: BTreeMap<String, Secret>,
    /// Is compared for users that do not exist; as costly as the costliest real one.
    decoy: Secret,
    key: hmac::Key,
    remembered: Mutex<Vec<hmac::Tag>>,
    turn: tokio::sync::Semaphore,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users")
            .field("count", &self.hashes.len())
            .finish_non_exhaustive()
    }
}

impl Users {
    /// Checks that every hash is one of bcrypt.
    ///
    /// # Errors
    /// A text that names the user.
    pub fn new(hashes: BTreeMap<String, Secret>) -> Result<Self, String> {
        if hashes.is_empty() {
            return Err("no user is named; nobody could log in".to_owned());
        }
        let mut cost = 4;
        for (user, hash) in &hashes {
            let parts: bcrypt::HashParts = hash
                .reveal()
                .parse()
                .map_err(|_| format!("the hash of user {user:?} is none of bcrypt"))?;
            if !(4..=31).contains(&parts.get_cost()) || hash.reveal().len() != 60 {
                return Err(format!("the hash of user {user:?} is none of bcrypt"));
            }
            cost = cost.max(parts.get_cost());
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| "no randomness from the system".to_owned())?;
        Ok(Self {
            hashes,
            decoy: Secret::new(format!("$2b${cost:02}${}", ".".repeat(53))),
            key,
            remembered: Mutex::default(),
            turn: tokio::sync::Semaphore::new(1),
        })
    }

    /// Whether the value of an `Authorization` header names a user with its password.
    pub async fn admit(&self, authorization: Option<&[u8]>) -> bool {
        let Some((user, password)) = authorization.and_then(credentials) else {
            return false;
        };
        let known = std::str::from_utf8(&user)
            .ok()
            .and_then(|user| self.hashes.get(user));
        let hash = known.unwrap_or(&self.decoy).clone();
        let tag = self.tag(&user, hash.reveal().as_bytes(), &password);
        if known.is_some() && self.is_remembered(&tag) {
            return true;
        }
        let Ok(_turn) = self.turn.acquire().await else {
            return false;
        };
        let compared =
            tokio::task::spawn_blocking(move || bcrypt::verify(&password, hash.reveal()));
        let is_right = matches!(compared.await, Ok(Ok(true))) && known.is_some();
        if is_right {
            self.remember(tag);
        }
        is_right
    }

    /// Each part is preceded by its length: no two triples have one text.
    fn tag(&self, user: &[u8], hash: &[u8], password: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [user, hash, password] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        context.sign()
    }

    fn is_remembered(&self, tag: &hmac::Tag) -> bool {
        let remembered = self.remembered.lock();
        remembered.iter().any(|good| good.as_ref() == tag.as_ref())
    }

    fn remember(&self, tag: hmac::Tag) {
        let mut remembered = self.remembered.lock();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.remove(0);
        }
        remembered.push(tag);
    }
}

/// User and password of `Basic ...`, as Go's `Request.BasicAuth` reads it.
fn credentials(header: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    const SCHEME: &[u8] = b"Basic ";
    let (scheme, encoded) = header.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let decoded = STANDARD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    Some((decoded[..colon].to_vec(), decoded[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        let hash = bcrypt::hash("pass:word", 4).unwrap();
        Users::new(BTreeMap::from([("bob".to_owned(), Secret::new(hash))])).unwrap()
    }

    fn basic(pair: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(pair)).into_bytes()
    }

    #[tokio::test]
    async fn only_right_pairs_are_admitted() {
        let users = users();
        for _ in 0..2 {
            assert!(users.admit(Some(&basic("bob:pass:word"))).await);
        }
        assert_eq!(users.remembered.lock().len(), 1);
        let lower = [
            b"bAsIc ".as_slice(),
            STANDARD.encode("bob:pass:word").as_bytes(),
        ]
        .concat();
        assert!(users.admit(Some(&lower)).await);
        for wrong in [
            "bob:pass",
            "bob:",
            "bob",
            "bobp:ass:word",
            ":pass:word",
            "",
            "alice:pass:word",
        ] {
            assert!(!users.admit(Some(&basic(wrong))).await, "{wrong}");
        }
        let long = basic(&format!("bob:{}", "x".repeat(8192)));
        for wrong in [
            None,
            Some(b"".as_slice()),
            Some(b"Basic"),
            Some(b"Basic "),
            Some(b"Basic !!"),
            Some(b"Bearer x"),
            Some(b"\xff\xfe"),
            Some(&long),
        ] {
            assert!(!users.admit(wrong).await);
        }
        let not_utf8 = format!("Basic {}", STANDARD.encode(b"\xff\xfe:x"));
        assert!(!users.admit(Some(not_utf8.as_bytes())).await);
        assert_eq!(users.remembered.lock().len(), 1);
    }

    #[tokio::test]
    async fn the_decoy_admits_nobody_and_costs_the_same() {
        let users = users();
        assert!(users.decoy.reveal().parse::<bcrypt::HashParts>().is_ok());
        assert!(users.decoy.reveal().starts_with("$2b$04$"));
        assert!(bcrypt::verify("x", users.decoy.reveal()).is_ok_and(|same| !same));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let users = users();
        for i in 0..2 * MAX_REMEMBERED as u64 {
            users.remember(users.tag(&i.to_le_bytes(), b"", b""));
        }
        assert_eq!(users.remembered.lock().len(), MAX_REMEMBERED);
        assert!(users.tag(b"a", b"b", b"c").as_ref() != users.tag(b"ab", b"", b"c").as_ref());
    }
}
