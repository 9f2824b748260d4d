//! Why a request was refused, as a fixed word for the log. No client learns it: every 401 looks the same.

macro_rules! reasons {
    ($($reason:ident, $word:literal, $doc:literal;)*) => {
        /// Why a request was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason {
            $(#[doc = $doc] $reason,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$reason),*];

            /// The word in the log.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$reason => $word,)*
                }
            }

            /// What it means, for the operator.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$reason => $doc,)*
                }
            }
        }
    };
}

reasons! {
    NoSuchUser, "no-such-user", "no user of that id, or of that name in that domain";
    WrongPassword, "wrong-password", "the password is another one, or a directory does not take it";
    Locked, "locked", "too many logins have failed; the account is locked, whatever the password";
    Disabled, "disabled", "the password is right; the user or their domain is disabled";
    PasswordExpired, "expired-password", "the password is right and has expired";
    MissingFactor, "missing-factor", "the user's multi-factor rules ask for more methods";
    WrongPasscode, "wrong-passcode", "the passcode is of none of the user's TOTP secrets, or of another time";
    PasscodeUsed, "passcode-used", "the passcode has logged somebody in already";
    NotAReceipt, "not-a-receipt", "no key of this server decrypts the receipt, or it is of methods that cannot be added to";
    ReceiptOver, "receipt-over", "the receipt's time is over, or all that its user had was revoked since";
    NoRemoteUser, "no-remote-user", "no front server that is believed names a user who is there";
    NothingSaid, "nothing-said", "nothing is said of who comes by an identity provider: no section `[oidc.NAME]` is for that provider and protocol, or no token came along; and no front server that is believed names the provider, or any attribute that the mapping looks at";
    NotMapped, "not-mapped", "the mapping makes nobody of what an identity provider says: no rule of it fits, none says who comes, or it cannot be read";
    NoSuchGroup, "no-such-group", "the mapping names the id of a group that is not there";
    NotTheProviders, "not-the-providers", "a token that an identity provider shall have given is none of its, not for this service, or over";
    NoLoginBegun, "no-login-begun", "a browser comes back from an identity provider with the answer to no login that it has begun here, or after more than ten minutes";
    UntrustedDashboard, "untrusted-dashboard", "the page that shall get the token is none of `[federation] trusted_dashboard`";
    WrongCertificate, "wrong-certificate", "by the mapping of `[oauth2] oauth2_cert_dn_mapping_id` the client's certificate is not that user's, or there is no such mapping";
    NoSuchMethod, "no-such-method", "no method is named, or one that this server does not have";
    OtherUser, "other-user", "two methods prove two users, or an OAuth1 access token is not that user's";
    NoSuchScope, "no-such-scope", "the project or domain of the scope is unknown or disabled";
    NoRoles, "no-roles", "the user holds no role in the scope, or not the one that an OAuth1 consumer shall have";
    NoToken, "no-token", "no token came along";
    NotAToken, "not-a-token", "no key of this server decrypts it";
    TokenExpired, "expired-token", "the token's time is over";
    TokenRevoked, "revoked-token", "the token was revoked, or carries a role that was taken away";
    TokenUser, "token-user", "the token's user is disabled or gone";
    ProviderGone, "provider-gone", "the identity provider that the token's user came from is gone, or lets nobody in this way any more";
    TrustOver, "trust-over", "the trust has ended, is used up, or is not this token's";
    TrustSuspended, "trust-suspended", "the trust gives nothing now: it is suspended or has not begun, a ceiling lies below it, or a role, user, project or domain of its chain is missing or disabled";
    CredentialOver, "credential-over", "the keypair, application credential or OAuth1 token is gone, over, or not for this use";
    NoSuchCredential, "no-such-credential", "no application credential of that id, or of that name and user";
    AccessRules, "access-rules", "the access rules of the token's trust or application credential do not allow the request, or the asker enforces none";
    NoSuchKeypair, "no-such-keypair", "no keypair of that access id can be read";
    NoSignature, "no-signature", "the request to be exchanged has no signature";
    WrongSignature, "wrong-signature", "the signature does not fit the request, or is of a version that is not accepted";
    SignatureTime, "signature-time", "the signed request is too old, from the future, or states no time";
    SignatureUsed, "signature-used", "the signed request was used already";
    Policy, "policy", "403: the policy does not allow the operation";
    Rule, "rule", "403: a rule that no policy can change";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_another_one() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            let word = reason.word();
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{word}");
            assert!(Reason::ALL.iter().skip(i + 1).all(|other| other.word() != word), "{word}");
        }
    }
}
