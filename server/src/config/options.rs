//! Every option that has a meaning here: the one table from which options are read, from which an option is
//! known, and from which the table in `docs/operations.md` comes.

/// One option.
#[derive(Debug)]
pub struct Opt {
    /// Its section.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it holds, with its default.
    pub kind: Kind,
    /// What it means, in Markdown.
    pub doc: &'static str,
    /// When a change takes effect.
    pub change: Change,
}

/// When a change of an option takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// When the server is started again.
    Restart,
    /// When it reads its files again, upon SIGHUP or by itself.
    Reload,
}

impl Opt {
    const fn reloaded(mut self) -> Self {
        self.change = Change::Reload;
        self
    }

    /// Whether its value may be known to nobody.
    pub fn is_secret(&self) -> bool {
        matches!(
            self.name,
            "admin_token"
                | "client_secret"
                | "connection_parameters"
                | "invalid_password_hash_secret_key"
                | "otlp_endpoint"
                | "transport_url"
        )
    }
}

impl Kind {
    /// The default as it would be written, if there is one that no other thing decides.
    pub fn default_text(self) -> Option<String> {
        match self {
            Text(text) => text.map(str::to_owned),
            Choice(words) => words.first().map(|w| (*w).to_owned()),
            InData(name, _) => Some(name.to_owned()),
            Flag(flag) => Some(flag.to_string()),
            Number(n) | Seconds(n) | Minutes(n) => Some(n.to_string()),
            Count(n) => n.map(|n| n.to_string()),
            List(words) => Some(words.to_owned()).filter(|w| !w.is_empty()),
            Regex => None,
        }
    }
}

/// What an option holds, with its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text(Option<&'static str>),
    /// One of these strings; the first is the default.
    Choice(&'static [&'static str]),
    /// A path. By default it lies in the data directory; without one, it is Keystone's default, if there is one.
    InData(&'static str, Option<&'static str>),
    /// A boolean.
    Flag(bool),
    /// An integer.
    Number(i64),
    /// An integer that is not negative, or nothing.
    Count(Option<u32>),
    /// A length of time, in whole seconds.
    Seconds(i64),
    /// A length of time, in whole minutes.
    Minutes(i64),
    /// Strings with commas in between.
    List(&'static str),
    /// A regular expression.
    Regex,
}

use Kind::{Choice, Count, Flag, InData, List, Minutes, Number, Regex, Seconds, Text};

const fn opt(section: &'static str, name: &'static str, kind: Kind, doc: &'static str) -> Opt {
    Opt { section, name, kind, doc, change: Change::Restart }
}

/// The row of an option. Sections like `[cors.dashboard]` have those of `[cors]`, and those like `[oidc.campus]` those of `[oidc]`.
pub fn find(section: &str, name: &str) -> Option<&'static Opt> {
    let section = match section.split_once('.') {
        Some((above @ ("cors" | "oidc"), _)) => above,
        _ => section,
    };
    OPTIONS.iter().find(|o| o.section == section && o.name == name)
}

/// The table.
#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    opt("DEFAULT", "debug", Flag(false), "the log level is `debug` instead of `info`, unless `--log-level` or `$VICAR_LOG_LEVEL` says one").reloaded(),
    opt("DEFAULT", "public_endpoint", Text(None), "what links begin with, a whole URL; without it, the host that the client asked for"),
    opt("DEFAULT", "list_limit", Count(None), "the longest list in one answer; 0: any"),
    opt("identity", "list_limit", Count(None), "the same of users and groups"),
    opt("resource", "list_limit", Count(None), "the same of projects and domains"),
    opt("role", "list_limit", Count(None), "the same of roles"),
    opt("catalog", "list_limit", Count(None), "the same of regions, services and endpoints"),
    opt("policy", "list_limit", Count(None), "the same of policies"),
    opt("unified_limit", "list_limit", Count(None), "the same of limits and registered limits"),
    opt("DEFAULT", "max_db_limit", Count(None), "no list in one answer is longer, whatever the options above say; 0: any. Keystone's default of 1000 is not taken"),
    opt("DEFAULT", "max_project_tree_depth", Number(5), "levels of projects below a domain"),
    opt("unified_limit", "enforcement_model", Choice(&["flat", "strict_two_level"]), "with `strict_two_level`, no limit of a project is above its domain's"),
    opt("federation", "assertion_prefix", Text(None), "how the names of the attributes begin that mappings see, of those that an identity provider says"),
    opt("federation", "remote_id_attribute", Text(None), "the attribute with the id that an identity provider has for itself, one of its `remote_ids`; a protocol can name another, and so can a section with its name"),
    opt("federation", "trusted_dashboard", Text(None), "a page of a dashboard to which a browser may go back with a token, such as `https://dashboard.example/auth/websso/`; may be set several times"),
    opt("federation", "sso_callback_template", Text(None), "a file with the page that posts the token there, in which `$host` and `$token` stand for both. Without it the page is ours; Keystone's default is not looked for"),
    opt("federation", "attribute_mapping_default_schema_version", Choice(&["1.0", "2.0", "3.0"]), "the version of mappings that name none"),
    opt("federation", "default_authorization_ttl", Minutes(0), "how long memberships live that came with a login through an identity provider that says nothing of its own"),
    opt("saml", "relay_state_prefix", Text(Some("ss:mem:")), "of service providers that name none"),
    opt("DEFAULT", "admin_token", Text(None), "whoever sends it is an administrator; leave it unset"),
    opt("database", "connection", InData("vicar.db", None), "see [The database](operations.md#the-database)"),
    opt("database", "connection_parameters", Text(None), "more of its parameters, `name=value&name=value`"),
    opt("database", "max_pool_size", Count(Some(5)), "connections that are kept"),
    opt("database", "max_overflow", Count(Some(50)), "connections beyond these in a rush"),
    opt("database", "pool_timeout", Seconds(30), "how long a request waits for a connection"),
    opt("database", "max_retries", Number(10), "how often a starting server tries to reach the database; -1: without end"),
    opt("database", "retry_interval", Seconds(10), "the pause between these attempts"),
    opt("database", "connection_recycle_time", Seconds(3600), "the age at which a connection is replaced"),
    opt("database", "connect_timeout", Seconds(5), "for making a connection; ours, not Keystone's"),
    opt("database", "statement_timeout", Seconds(30), "for one statement; ours"),
    opt("database", "lock_timeout", Seconds(10), "how long a write waits for its turn; ours"),
    opt("fernet_tokens", "key_repository", InData("fernet-keys", Some("/etc/keystone/fernet-keys/")), "keys of tokens"),
    opt("fernet_tokens", "max_active_keys", Number(3), "keys that a rotation keeps"),
    opt("fernet_receipts", "key_repository", Text(None), "keys of receipts; unset: those of tokens, `[fernet_tokens] key_repository`"),
    opt("fernet_receipts", "max_active_keys", Number(3), "keys that a rotation keeps"),
    opt("receipt", "expiration", Seconds(300), "how long a login may wait for its other methods; more than a day is taken for a day"),
    opt("credential", "key_repository", InData("credential-keys", Some("/etc/keystone/credential-keys/")), "keys of stored credentials"),
    opt("credential", "auth_ttl", Minutes(15), "how long a signed request is good for"),
    opt("application_credential", "user_limit", Number(-1), "how many application credentials a user may have; negative: any number"),
    opt("credential", "user_limit", Number(-1), "how many credentials of all types a user may have; negative: any number"),
    opt("credential", "refuse_replay", Flag(false), "refuse the same signed request twice; ours"),
    opt("credential", "allow_untimed_signatures", Flag(true), "version 2 signatures without a time, as Heat's stored URLs are; ours"),
    opt("credential", "allow_s3_version_2", Flag(true), "S3 signatures of version 2 (HMAC-SHA1), which stay good for as long as the gateway says; ours"),
    opt("token", "expiration", Seconds(3600), "how long a token lives"),
    opt("token", "allow_expired_window", Seconds(172_800), "how long a service may still validate an expired token"),
    opt("token", "allow_rescope_scoped_token", Flag(true), "whether a scoped token can be exchanged for one with another scope"),
    opt("oauth1", "request_token_duration", Seconds(28_800), "how long an OAuth1 request token lives; 0: without end"),
    opt("oauth1", "access_token_duration", Seconds(86_400), "how long an OAuth1 access token lives; 0: without end"),
    opt("token", "revoke_by_id", Flag(true), "the list of revoked PKI tokens, which there is no more, is 403; without it 410"),
    opt("endpoint_filter", "return_all_endpoints_if_no_filter", Flag(true), "whether the catalog is whole for who has no project, or one for which no endpoint is named; otherwise it is empty"),
    opt("trust", "allow_redelegation", Flag(true), "whether trusts can be delegated further"),
    opt("trust", "max_redelegation_count", Number(3), "how many times in a row, at most"),
    opt("cache", "enabled", Flag(true), "whether rows and answers are remembered between requests, 96 MiB of them at most. They are given again only when the database has said that nothing which they rest on has changed: see [0002](decisions/0002-exact-memory.md)"),
    opt("delegation", "ec2_keys", Choice(&["bound", "refuse"]), "`refuse`: delegated tokens get no keypairs at all, as in Keystone 30.0.0; ours"),
    opt("delegation", "retention", Seconds(2_592_000), "how long ended trusts are kept for those who ask how they ended; ours"),
    opt("delegation", "reap_interval", Seconds(60), "the pause between rounds of the reaper; 0: never; ours"),
    opt("delegation", "evidence_interval", Seconds(30), "the pause between writes of who used trusts, keypairs and application credentials, and when; a server that is killed loses what it saw since the last one; 0: nothing is noted; ours"),
    opt("delegation", "trust_max_login_age", Count(None), "whoever makes a trust has logged in at most so many seconds ago; 0: any time ago; ours"),
    opt("delegation", "trust_required_methods", List(""), "methods that whoever makes a trust has logged in by, all of them; ours"),
    opt("delegation", "trustees", Choice(&["anybody", "registered"]), "`registered`: new trusts are only for the trustees that `/v3/OS-TRUST/services` lists; ours"),
    opt("delegation", "max_trusts_per_user", Count(Some(10_000)), "how many living trusts a user may have given; 0: any number; ours"),
    opt("delegation", "max_credentials_per_user", Count(Some(10_000)), "how many credentials of all types, keypairs among them, a user may have, and how many application credentials and access rules each; 0: any number; ours"),
    opt("delegation", "max_oauth1_tokens", Count(Some(1_000)), "how many OAuth1 request tokens a consumer, and access tokens a user, may have; 0: any number; ours"),
    opt("auth", "methods", List("external,password,token,oauth1,mapped,application_credential,ec2credential"), "their order is part of every token: never reorder, add at the end"),
    opt("oauth2", "oauth2_authn_methods", List("tls_client_auth,client_secret_basic"), "how clients of OAuth 2.0 may authenticate. One that shows a certificate does it by that, whatever else it sends"),
    opt("oauth2", "oauth2_cert_dn_mapping_id", Text(Some("oauth2_mapping")), "the mapping that says whose a client's certificate is: see [proxies.md](proxies.md#certificates-of-clients)"),
    opt("auth", "external", Text(Some("DefaultDomain")), "with `Domain`, the front server says the domain of a user too, in `[vicar] remote_domain_header`; otherwise it is the default domain"),
    opt("auth", "additional_primary_auth_methods", List(""), "methods of plugins whose tokens count as logins, like `password`"),
    opt("totp", "included_previous_windows", Number(1), "how many windows of 30 seconds before the current one a passcode may be of; more than 10 are taken for 10"),
    opt("totp", "refuse_reuse", Flag(true), "refuse a passcode that has logged somebody in already; ours"),
    opt("identity", "default_domain_id", Text(Some("default")), "the domain of requests that name none"),
    opt("identity", "domain_specific_drivers_enabled", Flag(false), "whether lists of users and groups that ask for no domain show those of the caller's project's domain alone. A domain with another driver than `sql` and `ldap` in `domain_config_dir` refuses the start"),
    opt("identity", "domain_config_dir", Text(Some("/etc/keystone/domains")), "with the option above, the files `keystone.NAME.conf` there say where the users of the domain of that name come from: see [Directories](ldap.md)"),
    opt("identity", "domain_configurations_from_database", Flag(false), "with the option above, the `list_limit` that is stored for a domain counts for the lists of its users and groups. What is stored for a domain with the driver `ldap` says where its users come from ([Directories](ldap.md)). Another driver than `sql` and `ldap` is refused when it is to be stored, and one that is stored refuses the start"),
    opt("identity", "max_password_length", Number(4096), "bytes; bcrypt takes 72"),
    opt("identity", "password_hash_algorithm", Text(Some("bcrypt")), "new passwords are stored as bcrypt whatever it says; of another algorithm the rounds do not count"),
    opt("identity", "password_hash_rounds", Number(12), "bcrypt's cost, from 4 to 20: each one more takes twice the time"),
    opt("assignment", "prohibited_implied_role", List("admin"), "names of roles that no role may imply"),
    opt("security_compliance", "lockout_failure_attempts", Count(None), "failed logins that lock an account"),
    opt("security_compliance", "lockout_duration", Seconds(1800), "how long it stays locked"),
    opt("security_compliance", "disable_user_account_days_inactive", Count(None), "days without a login that disable a user"),
    opt("security_compliance", "password_expires_days", Count(None), "days that a password lives"),
    opt("security_compliance", "unique_last_password_count", Count(Some(0)), "how many last passwords a new one must differ from"),
    opt("security_compliance", "minimum_password_age", Count(Some(0)), "days before a user may change their password again"),
    opt("security_compliance", "password_regex", Regex, "what a password must look like"),
    opt("security_compliance", "password_regex_description", Text(None), "the same in words"),
    opt("security_compliance", "change_password_upon_first_use", Flag(false), "whether a password that an administrator set must be changed at first use"),
    opt("security_compliance", "report_invalid_password_hash", List(""), "`event`: the security log and notifications have a part of a keyed hash of each wrong password, which tells guesses from a program with an old password"),
    opt("security_compliance", "invalid_password_hash_secret_key", Text(None), "the key of these hashes; without it a server that is to report them does not start"),
    opt("security_compliance", "invalid_password_hash_function", Text(Some("sha256")), "their function: `sha1`, `sha224`, `sha256`, `sha384` or `sha512`"),
    opt("security_compliance", "invalid_password_hash_max_chars", Count(None), "how many characters of a hash are shown; unset: all"),
    opt("security_compliance", "allow_insecure_application_credential_trust_escalation", Flag(false), "whether application credentials may use the routes of trusts"),
    opt("oslo_policy", "policy_file", Text(None), "an operator's rules, YAML or JSON; unset: `policy.yaml` if there is one. See [Policy files](policy-files.md)").reloaded(),
    opt("oslo_policy", "policy_dirs", Text(Some("policy.d")), "directories with more of such files; may be set several times").reloaded(),
    opt("oslo_policy", "policy_default_rule", Text(Some("default")), "the rule that is asked when a rule refers to one that is not there").reloaded(),
    opt("oslo_policy", "remote_timeout", Text(Some("60")), "seconds in which a server that a rule asks must answer; 60 at most").reloaded(),
    opt("oslo_policy", "remote_content_type", Choice(&["application/x-www-form-urlencoded", "application/json"]), "what it is sent").reloaded(),
    opt("oslo_policy", "remote_ssl_ca_crt_file", Text(None), "whom to trust when it is asked by `https:`; unset: those whom the system trusts. It is always verified").reloaded(),
    opt("oslo_policy", "remote_ssl_client_crt_file", Text(None), "the certificate that is shown to it").reloaded(),
    opt("oslo_policy", "remote_ssl_client_key_file", Text(None), "the key of that certificate").reloaded(),
    opt("domain_config", "additional_whitelisted_options", Text(None), "options that can be stored for domains besides Keystone's own: `group:[option,option],group:[option]`"),
    opt("domain_config", "additional_sensitive_options", Text(None), "the same of those that are never shown"),
    opt("resource", "admin_project_name", Text(None), "with the next one: the project for whose tokens `is_admin_project:True` holds; unset: each").reloaded(),
    opt("resource", "admin_project_domain_name", Text(None), "the name of its domain").reloaded(),
    opt("oslo_middleware", "enable_proxy_headers_parsing", Flag(false), "whether the `X-Forwarded-` headers (or `Forwarded`) of a proxy in front are believed: see [proxies.md](proxies.md)"),
    opt("vicar", "listen", Text(None), "`--listen`: the address and port to serve on, 127.0.0.1:5000 without either; ours, as all of this section"),
    opt("vicar", "metrics_listen", Text(None), "`--metrics-listen`: where metrics are served, or `off`; 127.0.0.1:9100 without either"),
    opt("vicar", "tls_cert", Text(None), "`--tls-cert`: the certificate chain, PEM"),
    opt("vicar", "tls_key", Text(None), "`--tls-key`: its private key, PEM"),
    opt("vicar", "tls_ca", Text(None), "`--tls-ca`: its authority, for the files of clients"),
    opt("vicar", "tls_client_ca", Text(None), "authorities, PEM, whose certificates clients of OAuth 2.0 may show when they connect to this server itself, for `tls_client_auth`; nobody has to. It is read again with `tls_cert`"),
    opt("vicar", "log_format", Choice(&["text", "json"]), "`--log-format`"),
    opt("vicar", "log_level", Text(None), "`--log-level`; over `[DEFAULT] debug`").reloaded(),
    opt("vicar", "security_log", Text(None), "`--security-log`: a file for events of security, or `off`"),
    opt("vicar", "max_connections", Count(Some(8192)), "of the public listener; 0: as many as the limit of file descriptors allows; ours"),
    opt("vicar", "max_connections_per_address", Count(Some(2048)), "of one client address, or one /64 network with IPv6; 0: no limit. Behind a proxy all clients have the proxy's address; ours"),
    opt("vicar", "trusted_proxies", List(""), "with `enable_proxy_headers_parsing`, addresses and networks of the proxies whose headers are believed; unset: any on this machine or in a private network; ours"),
    opt("vicar", "remote_user_header", Text(None), "the header, such as `X-Remote-User`, in which a front server names a user that it has authenticated: the method `external`. Believed of the addresses in `trusted_proxies` alone, which have to be named: see [proxies.md](proxies.md#users-that-the-front-server-has-authenticated); ours"),
    opt("vicar", "remote_domain_header", Text(None), "with `[auth] external = Domain`, the header with the name of that user's domain; ours"),
    opt("vicar", "auth_type_header", Text(None), "for the method `kerberos`, the header that says `Negotiate`; ours"),
    opt("vicar", "assertion_headers", List(""), "how the names of the headers begin, such as `OIDC-`, in which a front server hands on what an identity provider says of a user. Believed of the addresses in `trusted_proxies` alone, which have to be named: see [federation.md](federation.md); ours"),
    opt("vicar", "client_certificate_header", Text(None), "the header, such as `X-SSL-Client-Cert`, in which a front server hands on the certificate of a client that it has verified, for `tls_client_auth`. Believed of the addresses in `trusted_proxies` alone, which have to be named: see [proxies.md](proxies.md#certificates-of-clients); ours"),
    opt("vicar", "directory_max_age", Seconds(60), "how long what an LDAP directory said of a user counts: after that it is asked again before anything rests on it, so that a user who left is gone by then; at least 1; ours"),
    opt("vicar", "path_prefix", Text(None), "the path below which everything is, like `/identity`; unset: that of `public_endpoint`; ours"),
    opt("healthcheck", "path", Text(Some("/healthcheck")), "one more path for health checks, besides `/healthcheck`"),
    opt("healthcheck", "backends", List(""), "`disable_by_file`, `disable_by_files_ports`, `enable_by_files`"),
    opt("healthcheck", "disable_by_file_path", Text(None), "while this file is there, health checks are answered with 503"),
    opt("healthcheck", "disable_by_file_paths", List(""), "the same with a file for each port: `5000:/path`"),
    opt("healthcheck", "enable_by_file_paths", List(""), "files that must be there"),
    opt("healthcheck", "detailed", Flag(false), "whether answers have the time, the platform and the files' names"),
    opt("healthcheck", "allowed_source_ranges", List(""), "networks of the clients for whom health checks are there; unset: everybody"),
    opt("healthcheck", "ignore_proxied_requests", Flag(false), "whether health checks are not there for requests with a proxy's headers"),
    opt("oidc", "issuer", Text(None), "in a section like `[oidc.campus]`, which has the id of an identity provider as its name: the provider's URL, as its tokens have it in `iss`; see [federation.md](federation.md#openid-connect); ours"),
    opt("oidc", "protocol", Text(Some("openid")), "the protocol of that identity provider by which its users come; ours"),
    opt("oidc", "audience", List(""), "for whom a token has to be: one of these has to be in its `aud`; needed, but where `client_id` is set and only browsers come; ours"),
    opt("oidc", "claim_prefix", Text(Some("OIDC-")), "how the names of attributes begin that mappings see for claims; ours"),
    opt("oidc", "client_id", Text(None), "what this server is called as a client of the provider: browsers are sent there to log in, see [oidc.md](oidc.md#dashboards); ours"),
    opt("oidc", "client_secret", Text(None), "what proves that it is this client, by `client_secret_basic`; unset: a public client; ours"),
    opt("oidc", "scope", Text(Some("openid profile email")), "what browsers ask the provider for; `openid` is among it; ours"),
    opt("oidc", "introspection", Flag(false), "whether the provider is asked about access tokens that are no JWT; needs `client_id` and `client_secret`; ours"),
    opt("oidc", "cafile", Text(None), "who vouches for the provider's certificate, if not whom the system trusts; ours"),
    opt("oidc", "timeout", Seconds(5), "for each call to the provider, 60 s at most; ours"),
    opt("oidc", "clock_skew", Seconds(60), "by how much the provider's clock may be wrong, 300 s at most; ours"),
    opt("oidc", "metadata_lifetime", Seconds(3600), "how long the provider's metadata and keys are good while it does not answer; it is asked again after half of it, and when a token names a key that is not among them; ours"),
    opt("cors", "allowed_origin", List(""), "origins whose pages may use the API from a browser, `https://host[:port]`; `*`: all. Sections like `[cors.dashboard]` say what differs for others"),
    opt("cors", "allow_credentials", Flag(true), "whether such a page may send cookies and the like"),
    opt("cors", "expose_headers", List("X-Auth-Token,X-Openstack-Request-Id,X-Subject-Token,Openstack-Auth-Receipt"), "headers of answers that it may read"),
    opt("cors", "max_age", Number(3600), "seconds that a browser may remember what is allowed"),
    opt("cors", "allow_methods", List("GET,PUT,POST,DELETE,PATCH"), "methods that it may use"),
    opt("cors", "allow_headers", List("X-Auth-Token,X-Openstack-Request-Id,X-Subject-Token,X-Project-Id,X-Project-Name,X-Project-Domain-Id,X-Project-Domain-Name,X-Domain-Id,X-Domain-Name,Openstack-Auth-Receipt"), "headers that it may send"),
    opt("vicar", "otlp_endpoint", Text(None), "the URL of a collector, such as `http://127.0.0.1:4318`, to which traces are sent by OTLP over HTTP; ours"),
    opt("DEFAULT", "notification_format", Choice(&["cadf", "basic"]), "how events are told: as CADF documents with who did it, or by the object's id alone; see [Notifications](notifications.md)"),
    opt("DEFAULT", "notification_opt_out", List("identity.authenticate.success,identity.authenticate.pending"), "event types that are not told; may be set several times"),
    opt("DEFAULT", "default_publisher_id", Text(None), "who tells events: `identity.` comes before it; unset: the host's name"),
    opt("DEFAULT", "control_exchange", Text(Some("keystone")), "the exchange to which they are sent"),
    opt("DEFAULT", "transport_url", Text(Some("rabbit://")), "the RabbitMQ, where `[oslo_messaging_notifications]` names none: `rabbit://user:password@host:5672,user:password@other:5672/vhost`"),
    opt("oslo_messaging_notifications", "driver", List(""), "where events are told: `messagingv2`, `messaging` (without envelope), `log`, `noop`; may be set several times; unset: nowhere"),
    opt("oslo_messaging_notifications", "transport_url", Text(None), "the RabbitMQ for events"),
    opt("oslo_messaging_notifications", "topics", List("notifications"), "queues to which each event is sent, with `.info` behind"),
    opt("oslo_messaging_notifications", "retry", Number(-1), "how often what could not be sent is tried again before it is dropped; -1: without end"),
    opt("oslo_messaging_rabbit", "amqp_durable_queues", Flag(false), "whether exchange and queues outlive a restart of the broker; must be as whoever else declares them has it"),
    opt("oslo_messaging_rabbit", "amqp_auto_delete", Flag(false), "whether they end with their last user"),
    opt("oslo_messaging_rabbit", "rabbit_ha_queues", Flag(false), "whether queues are declared with `x-ha-policy: all`"),
    opt("oslo_messaging_rabbit", "rabbit_quorum_queue", Flag(false), "whether queues are quorums; these are durable"),
    opt("oslo_messaging_rabbit", "rabbit_quorum_delivery_limit", Number(0), "their limit of deliveries; 0: none"),
    opt("oslo_messaging_rabbit", "rabbit_quorum_max_memory_length", Number(0), "how many messages they keep in memory; 0: any number"),
    opt("oslo_messaging_rabbit", "rabbit_quorum_max_memory_bytes", Number(0), "how many bytes; 0: any number"),
    opt("oslo_messaging_rabbit", "rabbit_login_method", Choice(&["AMQPLAIN", "PLAIN", "EXTERNAL"]), "how a connection proves who it is"),
    opt("oslo_messaging_rabbit", "heartbeat_timeout_threshold", Number(60), "seconds without a sign of life after which the broker is away; 0: never"),
    opt("oslo_messaging_rabbit", "rabbit_retry_interval", Number(1), "seconds before a lost connection is made again"),
    opt("oslo_messaging_rabbit", "rabbit_retry_backoff", Number(2), "by how many that grows with each attempt"),
    opt("oslo_messaging_rabbit", "rabbit_interval_max", Number(30), "the longest pause"),
    opt("oslo_messaging_rabbit", "kombu_failover_strategy", Choice(&["round-robin", "shuffle"]), "which host is next when one is away"),
    opt("oslo_messaging_rabbit", "ssl", Flag(false), "whether connections are TLS. The certificate is always verified, with the host's name"),
    opt("oslo_messaging_rabbit", "ssl_ca_file", Text(None), "whom to trust; unset: those whom the system trusts"),
    opt("oslo_messaging_rabbit", "ssl_cert_file", Text(None), "the certificate that is shown to the broker"),
    opt("oslo_messaging_rabbit", "ssl_key_file", Text(None), "the key of that certificate; unset: it is in the same file"),
    opt("vicar", "max_waiting_notifications", Number(10_000), "how many events wait in memory while the broker is away or slow; what comes beyond is dropped and counted; ours"),
    opt("oslo_middleware", "max_request_body_size", Number(114_688), "bytes"),
    opt("revoke", "expiration_buffer", Seconds(1800), "how long revocations are kept beyond need"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");

    fn default(kind: Kind) -> String {
        match (kind, kind.default_text()) {
            (_, None) => "unset".to_owned(),
            (InData(name, None), _) => format!("`{name}` in the data directory"),
            (InData(name, Some(theirs)), _) => format!("`{name}` in the data directory, or `{theirs}`"),
            (Seconds(_), Some(n)) => format!("{n} s"),
            (Minutes(_), Some(n)) => format!("{n} min"),
            (List(_), Some(words)) => words.replace(',', ", "),
            (_, Some(text)) => text,
        }
    }

    fn kind(kind: Kind) -> String {
        match kind {
            Text(_) => "string".to_owned(),
            Choice(words) => words.join(" or "),
            InData("vicar.db", _) => "URL".to_owned(),
            InData(..) => "path".to_owned(),
            Flag(_) => "boolean".to_owned(),
            Number(_) | Count(_) => "number".to_owned(),
            Seconds(_) => "seconds".to_owned(),
            Minutes(_) => "minutes".to_owned(),
            List(_) => "list".to_owned(),
            Regex => "pattern".to_owned(),
        }
    }

    /// Puts a table into the page in the place of the one with this head, or compares them.
    /// `VICAR_BLESS=1 cargo test -p vicar --lib config` rewrites the page.
    pub(in super::super) fn in_the_page(head: &str, rows: impl IntoIterator<Item = String>) {
        let table: String = std::iter::once(head.to_owned()).chain(rows).collect();
        let page = std::fs::read_to_string(DOCS).expect("the page");
        let at = page.find(head).expect("the page has the table");
        let end = at + page[at..].find("\n\n").map_or(page.len() - at, |n| n + 1);
        if std::env::var_os("VICAR_BLESS").is_some() {
            std::fs::write(DOCS, format!("{}{table}{}", &page[..at], &page[end..])).expect("written");
        } else {
            assert!(
                page[at..end] == table,
                "docs/configuration.md has another table; VICAR_BLESS=1 puts this one there"
            );
        }
    }

    #[test]
    fn the_docs_have_these_tables() {
        let change = |c| match c {
            Change::Restart => "restart",
            Change::Reload => "reload",
        };
        in_the_page(
            "| Option | Kind | Default | Change | |\n| --- | --- | --- | --- | --- |\n",
            OPTIONS.iter().map(|o| {
                let (kind, default) = (kind(o.kind), default(o.kind));
                format!(
                    "| `[{}] {}` | {kind} | {default} | {} | {} |\n",
                    o.section,
                    o.name,
                    change(o.change),
                    o.doc
                )
            }),
        );
        // One test writes the page.
        in_the_page(
            "| `--accept` | Option | What is missing |\n| --- | --- | --- |\n",
            super::super::foreign::refusals().into_iter().chain(crate::cli::stored_refusals()),
        );
    }

    #[test]
    fn each_option_is_there_once_and_documented() {
        for (i, o) in OPTIONS.iter().enumerate() {
            assert!(!o.doc.is_empty(), "{o:?}");
            assert!(!OPTIONS[..i].iter().any(|p| (p.section, p.name) == (o.section, o.name)), "{o:?}");
        }
    }
}
