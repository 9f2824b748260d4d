//! What holds while a Keystone goes on serving the same database.

use vicar_rules::Micros;

use super::super::report::Report;
use crate::clock::iso;
use crate::config::{Config, Ini};
use crate::oslo;
use crate::store::url::Location;

pub(super) fn judge(r: &mut Report, ini: &Ini, config: &Config, now: Micros) {
    caches(r, ini);
    r.differs(
        "keypairs of trusts",
        "are made here only; the Keystone refuses them, and shows them as credentials of type ec2-trust",
    );
    r.ok(
        "trusts that count uses",
        "both count them exactly; when many come at once, the Keystone may refuse one although a use is left",
    );
    if let Location::Sqlite(_) = config.database.location {
        r.differs("SQLite", "both must run on this machine, as users who may write the file; a Keystone whose processes write at the same time answers late there, or 500");
    }
    r.ok("clock", format_args!("{} here; all machines must agree to a second", iso(now)));
}

fn is_on(ini: &Ini, section: &str, option: &str, default: bool) -> bool {
    ini.value(section, option).map_or(default, |v| oslo::boolean(v) == Some(true))
}

fn caches(r: &mut Report, ini: &Ini) {
    r.ok("caches here", "nothing is cached here: what the Keystone ends is refused by the next request");
    let backend = ini.value("cache", "backend").unwrap_or("dogpile.cache.null");
    if !is_on(ini, "cache", "enabled", false) || backend == "dogpile.cache.null" {
        return r.ok(
            "caches there",
            "off ([cache] enabled, backend): what is ended here is refused there by the next request",
        );
    }
    let number = |section: &str, option| -> Option<u64> { ini.value(section, option)?.trim().parse().ok() };
    let seconds = |section: &str| -> u64 {
        // Users have a default of their own.
        let own = number(section, "cache_time").or((section == "identity").then_some(600));
        let all = || number("cache", "expiration_time").unwrap_or(600);
        own.unwrap_or_else(all)
    };
    let token = is_on(ini, "token", "caching", true);
    let facts = ["identity", "resource", "role", "assignment", "credential"];
    let longest =
        facts.iter().filter(|s| is_on(ini, s, "caching", true)).map(|s| seconds(s)).max().unwrap_or(0);
    let text = if token {
        format!(
            "the Keystone remembers tokens for {} s ([token] cache_time, [cache] expiration_time): a token that it has seen stays good there so long after it was ended here. Set `[token] caching = false` in its file while both serve",
            seconds("token")
        )
    } else {
        "[token] caching is off: a token that is ended here is refused there by the next request".to_owned()
    };
    if token {
        r.todo("caches there", text)
    } else {
        r.ok("caches there", text)
    }
    if longest > 0 {
        let more = longest + if token { seconds("token") } else { 0 };
        r.todo(
            "caches there",
            format_args!("users, projects, roles and credentials are remembered for {longest} s: so long the Keystone still gives out tokens with roles that were taken here, on projects that were disabled here, for keypairs that were deleted here, and what it gave out may last {more} s in all. `[cache] enabled = false` in its file while both serve ends this"),
        );
    }
}
