//! The workload that a trust is bound to: whoever uses it has to be that, besides being the trustee.

use std::collections::BTreeSet;

use crate::refusal::Refusal;

/// The workload that alone may use a trust, as its identity provider names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// Who has to have signed for it (`iss`).
    pub issuer: String,
    /// What it is called there (`sub`).
    pub subject: String,
    /// For whom what it shows has to be meant (`aud`); nothing for whatever this server takes.
    pub audience: Option<String>,
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
    /// Whether it is this workload. A login that no identity provider signed is none.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherWorkload`] when it is not.
    pub fn admit(&self, workload: Option<&Workload>) -> Result<(), Refusal> {
        let is_it = workload.is_some_and(|workload| {
            let is_meant = self.audience.as_ref().is_none_or(|wanted| workload.audiences.contains(wanted));
            workload.issuer == self.issuer && workload.subject == self.subject && is_meant
        });
        if is_it { Ok(()) } else { Err(Refusal::OtherWorkload) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_workload_itself_is_let_in() {
        let of = |issuer: &str, subject: &str, audiences: &[&str]| Workload {
            issuer: issuer.into(),
            subject: subject.into(),
            audiences: audiences.iter().map(|one| (*one).to_owned()).collect(),
        };
        let bound = |audience: Option<&str>| Binding {
            issuer: "https://cluster".into(),
            subject: "system:serviceaccount:heat:engine".into(),
            audience: audience.map(str::to_owned),
        };
        let pod = of("https://cluster", "system:serviceaccount:heat:engine", &["vicar", "other"]);
        for binding in [bound(None), bound(Some("vicar"))] {
            assert_eq!(binding.admit(Some(&pod)), Ok(()));
            for other in [
                None,
                Some(of("https://cluster/", &pod.subject, &["vicar"])),
                Some(of("https://cluster", "system:serviceaccount:heat:engine2", &["vicar"])),
                Some(of("https://cluster", "", &["vicar"])),
            ] {
                assert_eq!(binding.admit(other.as_ref()), Err(Refusal::OtherWorkload), "{other:?}");
            }
        }
        let elsewhere = of("https://cluster", &pod.subject, &["Vicar", "vicar2"]);
        assert_eq!(bound(None).admit(Some(&elsewhere)), Ok(()));
        assert_eq!(bound(Some("vicar")).admit(Some(&elsewhere)), Err(Refusal::OtherWorkload));
    }
}
