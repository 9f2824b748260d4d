//! `[security_compliance]`: what is asked of passwords and accounts, and what is told of wrong passwords.

use vicar_rules::Micros;

use super::{Reader, Result, wrong};
use crate::secret::Secret;

/// `[security_compliance]`; `None` switches a rule off.
#[derive(Debug, Clone)]
pub struct Compliance {
    /// Failed logins after which an account is locked.
    pub lockout_failure_attempts: Option<u32>,
    /// For how long.
    pub lockout_duration: Micros,
    /// Days without a login after which a user counts as disabled.
    pub disable_user_account_days_inactive: Option<u32>,
    /// Days that a password lives.
    pub password_expires_days: Option<u32>,
    /// How many last passwords must differ; 0 counts none.
    pub unique_last_password_count: u32,
    /// Days before a user may change their password again.
    pub minimum_password_age: u32,
    /// What a password must look like: the beginning of it must match.
    pub password_regex: Option<String>,
    /// The same in words.
    pub password_regex_description: Option<String>,
    /// Whether a password that an administrator set must be changed at first use.
    pub change_password_upon_first_use: bool,
    /// What is told of wrong passwords.
    pub wrong_passwords: Option<WrongPasswords>,
    /// Keystone's opt-in for application credentials on trust routes.
    pub allow_insecure_application_credential_trust_escalation: bool,
}

/// `[security_compliance] report_invalid_password_hash` and its like: the hashes of wrong passwords in the security log.
#[derive(Debug, Clone)]
pub struct WrongPasswords {
    /// The key.
    pub key: Secret,
    /// The function.
    pub function: HashFunction,
    /// How many characters are shown; `None`: all.
    pub most: Option<usize>,
}

/// What hashes of wrong passwords are made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashFunction {
    /// `sha1`
    Sha1,
    /// `sha224`
    Sha224,
    /// `sha256`
    Sha256,
    /// `sha384`
    Sha384,
    /// `sha512`
    Sha512,
}

impl Reader<'_> {
    fn wrong_passwords(&self) -> Result<Option<WrongPasswords>> {
        let section = "security_compliance";
        let name = "report_invalid_password_hash";
        let outputs = self.list(section, name)?;
        if let Some(other) = outputs.iter().find(|word| *word != "event") {
            return wrong(section, name, format_args!("`{other}` is not `event`"));
        }
        let name = "invalid_password_hash_function";
        let function = match self.text(section, name)?.unwrap_or_default().to_ascii_lowercase().as_str() {
            "sha1" => HashFunction::Sha1,
            "sha224" => HashFunction::Sha224,
            "sha256" => HashFunction::Sha256,
            "sha384" => HashFunction::Sha384,
            "sha512" => HashFunction::Sha512,
            other => return wrong(section, name, format_args!("`{other}` is no function that is there")),
        };
        let key = self.text(section, "invalid_password_hash_secret_key")?.filter(|key| !key.is_empty());
        let most = self.count(section, "invalid_password_hash_max_chars")?;
        match key {
            _ if outputs.is_empty() => Ok(None),
            Some(key) => {
                let most = most.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
                Ok(Some(WrongPasswords { key: Secret(key), function, most }))
            }
            None => wrong(
                section,
                "invalid_password_hash_secret_key",
                "is needed for `report_invalid_password_hash`",
            ),
        }
    }

    pub(super) fn compliance(&self) -> Result<Compliance> {
        let section = "security_compliance";
        let count = |name| self.count(section, name);
        // A Keystone refuses these too. A limit of none is an option that is not set.
        for name in [
            "lockout_failure_attempts",
            "lockout_duration",
            "disable_user_account_days_inactive",
            "password_expires_days",
            "invalid_password_hash_max_chars",
        ] {
            if self.row(section, name).1.is_some_and(|set| set.trim().parse() == Ok(0_i64)) {
                return wrong(section, name, "must be 1 or more; without it there is no limit");
            }
        }
        Ok(Compliance {
            lockout_failure_attempts: count("lockout_failure_attempts")?,
            lockout_duration: self.duration(section, "lockout_duration")?,
            disable_user_account_days_inactive: count("disable_user_account_days_inactive")?,
            password_expires_days: count("password_expires_days")?,
            unique_last_password_count: count("unique_last_password_count")?.unwrap_or(0),
            minimum_password_age: count("minimum_password_age")?.unwrap_or(0),
            password_regex: self.text(section, "password_regex")?,
            password_regex_description: self.text(section, "password_regex_description")?,
            change_password_upon_first_use: self.flag(section, "change_password_upon_first_use")?,
            wrong_passwords: self.wrong_passwords()?,
            allow_insecure_application_credential_trust_escalation: self
                .flag(section, "allow_insecure_application_credential_trust_escalation")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn hashes_of_wrong_passwords_need_a_key_and_a_function_that_is_there() {
        let of = |text: &str| {
            let text = format!("[security_compliance]\n{text}");
            Config::from_text(&text, Path::new("/d")).map(|c| c.compliance.wrong_passwords)
        };
        assert!(of("").expect("reads").is_none());
        assert!(of("invalid_password_hash_secret_key = s3cret\n").expect("reads").is_none());
        let on = "report_invalid_password_hash = event\n";
        assert!(of(on).is_err(), "a hash without a key could be looked up");
        let whole = of(&format!("{on}invalid_password_hash_secret_key = s3cret\n")).expect("reads");
        let whole = whole.expect("on");
        assert_eq!((whole.function, whole.most), (HashFunction::Sha256, None));
        assert!(!format!("{whole:?}").contains("s3cret"));
        let more = "invalid_password_hash_secret_key = s\ninvalid_password_hash_max_chars = 5\n";
        let cut = of(&format!("{on}{more}invalid_password_hash_function = SHA512\n")).expect("reads");
        assert_eq!(cut.map(|w| (w.function, w.most)), Some((HashFunction::Sha512, Some(5))));
        assert!(of(&format!("{on}{more}invalid_password_hash_function = crc32\n")).is_err());
        assert!(of("report_invalid_password_hash = log\n").is_err());
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        let of = |text: &str| Config::from_text(&format!("[security_compliance]\n{text}"), Path::new("/d"));
        for name in ["lockout_failure_attempts", "lockout_duration", "disable_user_account_days_inactive"] {
            let said = of(&format!("{name} = 0\n")).expect_err("everybody would be locked out").0;
            assert!(said.contains(name) && said.contains("must be 1 or more"), "{said}");
            of(&format!("{name} = 1\n")).expect("reads");
        }
        of("unique_last_password_count = 0\nminimum_password_age = 0\n").expect("none is a value of these");
    }
}
