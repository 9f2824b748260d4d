//! What the document says of operations that are more than making, reading, changing and deleting: a sentence for each,
//! and the headers that it takes besides.

use crate::dispatch::openapi::{About, Header};

const RECEIPT: Header = Header {
    name: "Openstack-Auth-Receipt",
    scheme: None,
    text: "The receipt of a login that lacked methods; with it the missing ones are enough",
};
const ACCESS_RULES: Header = Header {
    name: "OpenStack-Identity-Access-Rules",
    scheme: None,
    text: "`1.0` from a service that enforces access rules; without it a token that has some is not found",
};
const SERVICE: Header = Header {
    name: "X-Service-Token",
    scheme: None,
    text: "The token of a service with the role `service`, which asks on behalf of a token whose access rules do not allow \
           it to",
};
const SIGNED: Header = Header {
    name: "Authorization",
    scheme: Some("OAuth"),
    text: "`OAuth` with the parameters of RFC 5849 and the consumer's signature",
};
const CLIENT: Header = Header {
    name: "Authorization",
    scheme: Some("Basic"),
    text: "`Basic` with the id and the secret of an application credential",
};

/// All of them. A summary takes the place of the operation's name.
#[rustfmt::skip]
pub static ABOUT: &[About] = &[
    About::of("POST", "/v3/auth/tokens", "A login by all methods that are named. Where the user's multi-factor rules ask for more it is 401 with a receipt, with which a second request goes on").with(&[RECEIPT, SIGNED]),
    About::of("GET", "/v3/auth/tokens", "Validates the token in `X-Subject-Token` and shows it; a token that is not good is 404").with(&[ACCESS_RULES, SERVICE]),
    About::of("HEAD", "/v3/auth/tokens", "Validates the token in `X-Subject-Token`; one that is not good is 404").with(&[ACCESS_RULES, SERVICE]),
    About::of("GET", "/v3/auth/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/websso", "A login through a browser: a page that posts the token to `origin`, a page of a trusted dashboard"),
    About::of("POST", "/v3/auth/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/websso", "The same by `POST`"),
    About::of("GET", "/v3/auth/OS-FEDERATION/websso/{protocol_id}", "A login through a browser; which identity provider it is says the attribute with its own id"),
    About::of("POST", "/v3/auth/OS-FEDERATION/websso/{protocol_id}", "The same by `POST`"),
    About::of("GET", "/v3/auth/OS-FEDERATION/oidc/callback", "The redirect URI for providers of OpenID Connect: a browser comes back that this server has sent there, and gets the page that takes its token to the dashboard"),
    About::of("POST", "/v3/auth/explain", "Why a token, or whoever uses a trust, may do something or not: what it rests on, what its kind, its access rules and the policy say, in words. Nothing is done. Without `subject` it is about the token that asks; others' are for operators").named("Explain a decision"),
    About::of("DELETE", "/v3/users/{user_id}/tokens", "Ends all tokens that the user has now"),
    About::of("POST", "/v3/ec2tokens", "Exchanges a request that was signed with an EC2 keypair for a token of the keypair's owner; of a keypair that is bound to a trust, for what the trust gives. Without `ec2credential` in `[auth] methods` it is 503"),
    About::of("POST", "/v3/s3tokens", "Says whose signature of an S3 request this is; the answer carries no token"),
    About::of("POST", "/v3/users/{user_id}/password", "Users change their own password, knowing the present one, even when it has expired. It ends their tokens"),
    About::of("POST", "/v3/OS-TRUST/trusts", "A user delegates roles on a project to another, for a time or a number of uses; with a token of a trust that allows it, a narrower trust is made below that one"),
    About::of("DELETE", "/v3/OS-TRUST/trusts/{trust_id}", "Ends the trust and all that was made from it. `dry_run=true` shows what would end and ends nothing; `renounce=true` is for the trustee"),
    About::of("POST", "/v3/OS-TRUST/trusts/{trust_id}/suspend", "The trust and all below it give nothing until it is resumed, and their tokens end for good"),
    About::of("POST", "/v3/OS-TRUST/trusts/{trust_id}/resume", "Ends a suspension, unless it is of somebody further up"),
    About::of("POST", "/v3/OS-TRUST/trusts/{trust_id}/adopt", "The trust rests on the caller's roles from now on, and keeps its id and the name that it shows; tokens of before end"),
    About::of("DELETE", "/v3/OS-TRUST/trusts/{trust_id}/tokens", "Ends the tokens of the trust and of all below it that were issued until a time, or until now; the trust stays"),
    About::of("GET", "/v3/OS-TRUST/trusts/{trust_id}/lineage", "The trusts above, the trust, and all below with their keypairs, each with its state and why"),
    About::of("GET", "/v3/users/{user_id}/delegations", "All that acts for the user, and all that the user acts by for others: trusts, keypairs, application credentials and access tokens, each with its state and why"),
    About::of("GET", "/v3/projects/{project_id}/delegations", "All that lets somebody act on the project for somebody else: trusts with their keypairs, application credentials, keypairs; each has its `type`"),
    About::of("GET", "/v3/domains/{domain_id}/delegations", "The same on all projects of a domain"),
    About::of("GET", "/v3/domains/{domain_id}/delegation_policy", "How much may be delegated on the projects and by the users of the domain; `effective` says it with where each limit comes from"),
    About::of("PUT", "/v3/domains/{domain_id}/delegation_policy", "Sets these limits and removes all others; with `applies_to_existing` trusts above them give nothing while they are"),
    About::of("GET", "/v3/projects/{project_id}/delegation_policy", "How much may be delegated on the project and those below it; `effective` counts the ones above and the domain in"),
    About::of("PUT", "/v3/projects/{project_id}/delegation_policy", "Sets these limits and removes all others; with `applies_to_existing` trusts above them give nothing while they are"),
    About::of("GET", "/v3/users/{user_id}/delegation_policy", "How much the user may delegate; `effective` counts the domain in"),
    About::of("PUT", "/v3/users/{user_id}/delegation_policy", "Sets these limits and removes all others; with `applies_to_existing` trusts above them give nothing while they are"),
    About::of("GET", "/v3/OS-TRUST/services", "The registered trustees: what each is called, what it is for, and the most that it is given"),
    About::of("PUT", "/v3/OS-TRUST/services/{user_id}", "Registers a user as a trustee, or says anew what they are for and the most that they are given"),
    About::of("DELETE", "/v3/OS-TRUST/services/{user_id}", "The user is no registered trustee any more; trusts to them stay"),
    About::of("POST", "/v3/users/{user_id}/credentials/OS-EC2", "Makes an EC2 keypair; with a token of a trust it is bound to that trust for life"),
    About::of("POST", "/v3/users/{user_id}/application_credentials", "Makes a secret that logs in as the user on the token's project, with some of the token's roles, and where access rules are given for these requests alone. The answer alone shows the secret"),
    About::of("DELETE", "/v3/users/{user_id}/access_rules/{access_rule_id}", "An access rule that no application credential has any more; one that is in use is 403"),
    About::of("POST", "/v3/OS-OAUTH1/request_token", "A consumer asks for a request token for a project, signed with its own secret").named("Ask for a request token").with(&[SIGNED]),
    About::of("PUT", "/v3/OS-OAUTH1/authorize/{request_token_id}", "Grants the consumer these roles of the caller's on the project that it asked for, and shows the verifier that it needs. By the shipped policy only administrators do").named("Authorize a request token"),
    About::of("POST", "/v3/OS-OAUTH1/access_token", "A consumer exchanges an authorized request token, signed with both secrets and with the verifier, for an access token, with which it signs logins").named("Exchange a request token for an access token").with(&[SIGNED]),
    About::of("DELETE", "/v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}", "Ends the access token and the tokens that it logged in for"),
    About::of("POST", "/v3/OS-OAUTH2/token", "The client credentials grant of RFC 6749: an application credential's id and secret for a token, which is of use as `X-Auth-Token`. Errors are as the RFC has them").named("Get a token for client credentials").with(&[CLIENT]),
    About::of("GET", "/v3/limits/model", "How limits are judged: `flat`, or `strict_two_level`, where no project is above its domain"),
    About::of("PUT", "/v3/domains/{domain_id}/config", "Sets these options and removes all others"),
    About::of("PATCH", "/v3/domains/{domain_id}/config", "Sets these options and keeps the others"),
    About::of("PATCH", "/v3/domains/{domain_id}/config/{group}", "Sets options of a group that is there, and shows the whole configuration"),
    About::of("PATCH", "/v3/domains/{domain_id}/config/{group}/{option}", "Sets an option that is there, and shows the whole configuration"),
    About::of("GET", "/v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy", "The policy that is nearest: of the endpoint, of its service in its region or one above, or of its service"),
    About::of("GET", "/v3/OS-SIMPLE-CERT/ca", "Certificates of PKI tokens, which there are none of: always 410").named("Get the CA's certificate"),
    About::of("GET", "/v3/OS-SIMPLE-CERT/certificates", "Certificates of PKI tokens, which there are none of: always 410").named("Get certificates"),
    About::of("GET", "/v3/auth/tokens/OS-PKI/revoked", "The list of revoked PKI tokens, which there is none of: always 403, or 410 where `[token] revoke_by_id` is false").named("List revoked PKI tokens"),
];
