//! The workload that a trust is bound to: whoever uses it has to be that, besides being the trustee.

use std::collections::BTreeSet;

use crate::refusal::Refusal;

/// The workload that alone may use a trust.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Binding {
    /// As its identity provider names it.
    Signed {
        /// Who has to have signed for it (`iss`).
        issuer: String,
        /// What it is called there (`sub`).
        subject: String,
        /// For whom what it shows has to be meant (`aud`); nothing for whatever this server takes.
        audience: Option<String>,
    },
    /// As the client with the certificate of this thumbprint, as tokens name it.
    Certificate(String),
}

/// Who logged in, as an identity provider has signed it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workload {
    /// Who signed it (`iss`).
    pub issuer: String,
    /// What it is called there (`sub`).
    pub subject: String,
    /// For whom it was meant (`aud`).
    pub audiences: BTreeSet<String>,
}

impl Binding {
    /// Whether it is this workload, with a connection of the certificate that has this thumbprint. A login that no identity
    /// provider signed is none, nor is one whose certificate nobody verified.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherWorkload`] or [`Refusal::OtherCertificate`] when it is not.
    pub fn admit(&self, workload: Option<&Workload>, certificate: Option<&str>) -> Result<(), Refusal> {
        match self {
            Self::Signed { issuer, subject, audience } => {
                let is_it = workload.is_some_and(|workload| {
                    let is_meant = audience.as_ref().is_none_or(|wanted| workload.audiences.contains(wanted));
                    workload.issuer == *issuer && workload.subject == *subject && is_meant
                });
                if is_it { Ok(()) } else { Err(Refusal::OtherWorkload) }
            }
            Self::Certificate(own) if certificate == Some(own) => Ok(()),
            Self::Certificate(_) => Err(Refusal::OtherCertificate),
        }
    }

    /// The thumbprint of the certificate, where it is one that a trust is bound to.
    pub fn thumbprint(&self) -> Option<&str> {
        match self {
            Self::Certificate(thumbprint) => Some(thumbprint),
            Self::Signed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(issuer: &str, subject: &str, audiences: &[&str]) -> Workload {
        Workload {
            issuer: issuer.into(),
            subject: subject.into(),
            audiences: audiences.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    #[test]
    fn only_the_workload_itself_is_let_in() {
        let bound = |audience: Option<&str>| Binding::Signed {
            issuer: "https://cluster".into(),
            subject: "system:serviceaccount:heat:engine".into(),
            audience: audience.map(str::to_owned),
        };
        let pod = of("https://cluster", "system:serviceaccount:heat:engine", &["vicar", "other"]);
        for binding in [bound(None), bound(Some("vicar"))] {
            assert_eq!(binding.admit(Some(&pod), None), Ok(()));
            assert_eq!(binding.admit(Some(&pod), Some("any")), Ok(()));
            for other in [
                None,
                Some(of("https://cluster/", &pod.subject, &["vicar"])),
                Some(of("https://cluster", "system:serviceaccount:heat:engine2", &["vicar"])),
                Some(of("https://cluster", "", &["vicar"])),
            ] {
                for certificate in [None, Some("system:serviceaccount:heat:engine")] {
                    let answer = binding.admit(other.as_ref(), certificate);
                    assert_eq!(answer, Err(Refusal::OtherWorkload), "{other:?}");
                }
            }
        }
        let elsewhere = of("https://cluster", &pod.subject, &["Vicar", "vicar2"]);
        assert_eq!(bound(None).admit(Some(&elsewhere), None), Ok(()));
        assert_eq!(bound(Some("vicar")).admit(Some(&elsewhere), None), Err(Refusal::OtherWorkload));
        assert_eq!(bound(None).thumbprint(), None);
    }

    #[test]
    fn only_its_certificate_lets_a_client_in() {
        let binding = Binding::Certificate("thumb".into());
        assert_eq!(binding.thumbprint(), Some("thumb"));
        let pod = of("thumb", "thumb", &["thumb"]);
        for workload in [None, Some(&pod)] {
            assert_eq!(binding.admit(workload, Some("thumb")), Ok(()));
            for other in [None, Some(""), Some("Thumb"), Some("thumb=")] {
                assert_eq!(binding.admit(workload, other), Err(Refusal::OtherCertificate), "{other:?}");
            }
        }
    }
}
