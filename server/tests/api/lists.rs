//! Pages of lists: each item once, whatever else there is, and nothing of what others have.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vicar::args;

use crate::support::{Cast, Server, ids, on_domain};

/// The ids of all pages of a list, read by its links; how many there were, too. Keypairs have an access id.
fn pages(s: &Server, token: &str, list: &str, path: &str) -> (Vec<String>, usize) {
    let (mut ids, mut count, mut next) = (Vec::new(), 0, Some(path.to_owned()));
    while let Some(path) = next {
        let answer = s.get(token, &path).expect(200).body;
        let items = answer[list].as_array().expect("a list");
        let id = |i: &Value| i["id"].as_str().or(i["access"].as_str()).expect("an id").to_owned();
        ids.extend(items.iter().map(id));
        count += 1;
        assert!(count < 1000, "{path} has no end");
        next = answer["links"]["next"].as_str().map(|link| {
            let at = link.find("/v3/").expect("a path");
            link[at..].to_owned()
        });
    }
    (ids, count)
}

/// Checks that the pages of a list, of this length, have what the whole list has; returns that.
fn paged(s: &Server, token: &str, list: &str, path: &str, limit: usize) -> BTreeSet<String> {
    let (whole, one) = pages(s, token, list, path);
    assert_eq!(one, 1);
    let and = if path.contains('?') { '&' } else { '?' };
    let (ids, count) = pages(s, token, list, &format!("{path}{and}limit={limit}"));
    assert_eq!(ids, whole, "{path}");
    assert_eq!(count, whole.len().div_ceil(limit).max(1), "{path}");
    let set: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(set.len(), ids.len(), "{path}");
    set
}

#[test]
fn every_page_of_every_list_has_what_the_whole_list_has() {
    let c = Cast::new();
    let alice = c.s.on("alice", &c.p);
    let trusts: Vec<String> = (1..=7).map(|n| c.trust(json!({"remaining_uses": n}))).collect();
    c.s.delete(&alice, &format!("/v3/OS-TRUST/trusts/{}", trusts[0])).expect(204);
    for n in 0..3 {
        c.keypair(&alice, &c.alice, json!({})).expect(201);
        let bearer = c.s.consume("bob", &trusts[n + 2]).expect(201).token();
        c.keypair(&bearer, &c.alice, json!({})).expect(201);
    }
    let admin = c.s.admin();
    let of_alice = |more: &str| format!("/v3/OS-TRUST/trusts?trustor_user_id={}{more}", c.alice);
    for limit in [1, 2, 3, 100] {
        let all: BTreeSet<String> = trusts.iter().cloned().collect();
        let living: BTreeSet<String> = trusts[1..].iter().cloned().collect();
        assert_eq!(paged(&c.s, &alice, "trusts", &of_alice("&state=all"), limit), all);
        assert_eq!(paged(&c.s, &alice, "trusts", &of_alice(""), limit), living);
        assert_eq!(paged(&c.s, &admin, "trusts", "/v3/OS-TRUST/trusts", limit), living);
        assert_eq!(paged(&c.s, &alice, "trusts", &of_alice("&state=deleted"), limit).len(), 1);
        let bob = c.s.unscoped("bob");
        let for_bob = format!("/v3/OS-TRUST/trusts?trustee_user_id={}", c.bob);
        assert_eq!(paged(&c.s, &bob, "trusts", &for_bob, limit), living);
        // Alice's own and those that bob's bearers made; bob has a part in the latter.
        assert_eq!(paged(&c.s, &alice, "credentials", "/v3/credentials", limit).len(), 6);
        assert_eq!(paged(&c.s, &bob, "credentials", "/v3/credentials", limit).len(), 3);
        assert_eq!(paged(&c.s, &admin, "credentials", "/v3/credentials", limit).len(), 6);
        let typed = "/v3/credentials?type=ec2";
        assert_eq!(paged(&c.s, &alice, "credentials", typed, limit).len(), 6);
        assert_eq!(paged(&c.s, &alice, "credentials", &keypairs(&c.alice), limit).len(), 6);
        assert_eq!(paged(&c.s, &bob, "credentials", &keypairs(&c.bob), limit).len(), 3);
        assert!(paged(&c.s, &admin, "users", "/v3/users", limit).contains(&c.dave));
        assert!(paged(&c.s, &admin, "projects", "/v3/projects", limit).contains(&c.q));
        assert!(paged(&c.s, &admin, "users", "/v3/users?name__startswith=a", limit).contains(&c.alice));
        let own = format!("/v3/users/{}/projects", c.alice);
        assert_eq!(paged(&c.s, &alice, "projects", &own, limit).len(), 2);
        assert_eq!(paged(&c.s, &alice, "projects", "/v3/auth/projects", limit).len(), 2);
    }
}

fn keypairs(user: &str) -> String {
    format!("/v3/users/{user}/credentials/OS-EC2")
}

#[test]
fn a_marker_of_keypairs_is_the_id_of_a_credential_which_they_do_not_show() {
    let c = Cast::with("[DEFAULT]\nlist_limit = 2\n");
    let alice = c.s.on("alice", &c.p);
    let made: BTreeSet<String> = (0..5)
        .map(|_| c.keypair(&alice, &c.alice, json!({})).expect(201).body["credential"]["access"].clone())
        .map(|access| access.as_str().expect("an access id").to_owned())
        .collect();
    let path = keypairs(&c.alice);
    let first = c.s.get(&alice, &path).expect(200).body;
    assert_eq!(first["truncated"], json!(true));
    assert_eq!(first["credentials"][0].get("id"), None);
    let (read, count) = pages(&c.s, &alice, "credentials", &path);
    assert_eq!((read.len(), count), (5, 3));
    assert_eq!(read.into_iter().collect::<BTreeSet<_>>(), made);
    // There, but not in this list; and nowhere.
    let bob = c.s.unscoped("bob");
    let other = c.s.get(&alice, "/v3/credentials").expect(200).body["credentials"][0]["id"].clone();
    let other = other.as_str().expect("an id");
    c.s.get(&alice, &format!("{path}?marker={other}")).expect(200);
    c.s.get(&bob, &format!("{}?marker={other}", keypairs(&c.bob))).expect(400);
    c.s.get(&alice, &format!("{path}?marker=nope")).expect(400);
}

#[test]
fn what_has_no_id_is_answered_whole() {
    let c = Cast::with("[DEFAULT]\nlist_limit = 1\n");
    let admin = c.s.admin();
    for user in [&c.alice, &c.bob, &c.dave] {
        c.s.patch(&admin, &format!("/v3/users/{user}"), json!({"user": {"enabled": false}})).expect(200);
    }
    for query in ["", "?limit=1"] {
        for (list, path) in [("events", "/v3/OS-REVOKE/events"), ("role_assignments", "/v3/role_assignments")]
        {
            let answer = c.s.get(&admin, &format!("{path}{query}")).expect(200).body;
            assert!(answer[list].as_array().expect("a list").len() >= 3, "{path}{query}");
            assert_eq!((answer.get("truncated"), &answer["links"]["next"]), (None, &json!(null)));
        }
    }
}

/// What is sorted by name, and what is reached by a membership.
#[test]
fn roles_domains_groups_and_members_have_pages() {
    let s = Server::start();
    let admin = s.admin();
    // In whichever order the engine has these; of one domain, and of others in between.
    let domains: Vec<String> = ["D", "c", "B", "a", "off"].iter().map(|name| s.domain(name)).collect();
    for name in ["b", "Ba", "a b", "ab", "ä", "z", "a-b", "Z2", "_", "10", "9", "é"] {
        for domain in &domains[..2] {
            s.post(&admin, "/v3/roles", json!({"role": {"name": name, "domain_id": domain}})).expect(201);
        }
        s.post(&admin, "/v3/roles", json!({"role": {"name": name}})).expect(201);
    }
    let off = json!({"domain": {"enabled": false}});
    s.patch(&admin, &format!("/v3/domains/{}", domains[4]), off).expect(200);
    let users: Vec<String> =
        ["ann", "ben", "cid", "dan", "eve"].iter().map(|n| s.user_in(n, &domains[0])).collect();
    let members: Vec<&str> = users.iter().map(String::as_str).collect();
    let crew = s.group("crew", &domains[0], &members);
    for n in 0..6 {
        s.group(&format!("other-{n}"), &domains[n % 2], &members[..n % 3]);
    }
    for limit in [1, 2, 3, 100] {
        let roles = paged(&s, &admin, "roles", "/v3/roles", limit);
        assert_eq!(roles.len(), 12 + 5);
        let own = format!("/v3/roles?domain_id={}", domains[1]);
        assert_eq!(paged(&s, &admin, "roles", &own, limit).len(), 12);
        assert_eq!(paged(&s, &admin, "roles", &format!("{own}&name__contains=b"), limit).len(), 4);
        let all: BTreeSet<String> = domains.iter().cloned().chain(["default".to_owned()]).collect();
        assert_eq!(paged(&s, &admin, "domains", "/v3/domains", limit), all);
        let off = BTreeSet::from([domains[4].clone()]);
        assert_eq!(paged(&s, &admin, "domains", "/v3/domains?enabled=false", limit), off);
        assert_eq!(paged(&s, &admin, "domains", "/v3/domains?enabled", limit).len(), 5);
        assert_eq!(paged(&s, &admin, "domains", "/v3/domains?name__istartswith=b", limit).len(), 1);
        let of = format!("/v3/groups/{crew}/users");
        assert_eq!(paged(&s, &admin, "users", &of, limit), users.iter().cloned().collect());
        assert_eq!(paged(&s, &admin, "users", &format!("{of}?name=cid"), limit), [users[2].clone()].into());
        assert_eq!(paged(&s, &admin, "users", &format!("{of}?domain_id=default"), limit).len(), 0);
        // Ann is in the crew and in four others: of n % 3 > 0.
        let of = format!("/v3/users/{}/groups", users[0]);
        assert_eq!(paged(&s, &admin, "groups", &of, limit).len(), 5);
        assert_eq!(paged(&s, &admin, "groups", &format!("{of}?name=crew"), limit), [crew.clone()].into());
        assert_eq!(paged(&s, &admin, "groups", &format!("{of}?name__endswith=1"), limit).len(), 1);
    }
    // Not in the list, though it is there.
    let stranger = s.user("zoe");
    let global = s.role("member");
    for path in [
        format!("/v3/roles?domain_id={}&marker={global}", domains[0]),
        format!("/v3/roles?name=z&marker={global}"),
        format!("/v3/domains?marker={}", s.project("p")),
        format!("/v3/domains?enabled=true&marker={}", domains[4]),
        format!("/v3/groups/{crew}/users?marker={stranger}"),
        format!("/v3/users/{stranger}/groups?marker={crew}"),
        "/v3/roles?marker=nope".to_owned(),
    ] {
        let refused = s.get(&admin, &path).expect(400);
        assert!(refused.text.contains("marker: "), "{path}: {}", refused.text);
    }
}

/// Regions of 60 kB, as long as they can be on every engine.
pub fn long_regions(s: &Server, count: usize) -> Vec<String> {
    let extra = json!({"more": "x".repeat(60_000)}).to_string();
    let all: Vec<String> = (0..count).map(|n| format!("r-{n:03}")).collect();
    for some in all.chunks(50) {
        let places = vec!["(?, '', ?)"; some.len()].join(", ");
        let rows: Vec<_> = some.iter().flat_map(|id| args![id, &extra].to_vec()).collect();
        s.sql_run(&format!("INSERT INTO region (id, description, extra) VALUES {places}"), &rows);
    }
    all
}

/// More than is read at once, and more than the operator's limit.
/// Items can be as long as a request: their list ends early, and goes on where it ended.
#[test]
fn a_page_is_no_longer_than_sixteen_megabytes() {
    let s = Server::start();
    let admin = s.admin();
    let all = long_regions(&s, 700);
    let (mut path, mut found, mut pages) = ("/v3/regions".to_owned(), Vec::new(), 0);
    loop {
        let page = s.get(&admin, &path).expect(200);
        assert!(page.text.len() < (16 << 20) + 1_000, "{}", page.text.len());
        found.extend(ids(&page, "regions"));
        pages += 1;
        let next = page.body["links"]["next"].as_str().map(|url| url.replace(&s.url, ""));
        assert_eq!(page.body.get("truncated"), next.as_ref().map(|_| &json!(true)));
        match next {
            Some(next) => path = next,
            None => break,
        }
    }
    // An engine has its own order of capital letters.
    found.retain(|id| id != "RegionOne");
    assert_eq!((found, pages), (all, 3));
    // The smaller page counts.
    let page = s.get(&admin, "/v3/regions?limit=2&marker=r-100").expect(200);
    assert_eq!(ids(&page, "regions"), ["r-101", "r-102"]);
}

#[test]
fn a_long_list_of_roles_is_whole_and_a_limited_one_says_so() {
    let s = Server::with("[DEFAULT]\nlist_limit = 250\n");
    let admin = s.admin();
    let rows: Vec<(String, String)> =
        (0..600).map(|n| (format!("{:032x}", 7 * n % 600), format!("r{:03}", n))).collect();
    let places = vec!["(?, ?, '{}', '<<null>>')"; rows.len()].join(", ");
    let args: Vec<_> = rows.iter().flat_map(|(id, name)| args![id, name].to_vec()).collect();
    s.sql_run(&format!("INSERT INTO role (id, name, extra, domain_id) VALUES {places}"), &args);
    let first = s.get(&admin, "/v3/roles").expect(200).body;
    assert_eq!((first["roles"].as_array().expect("a list").len(), &first["truncated"]), (250, &json!(true)));
    let (ids, count) = pages(&s, &admin, "roles", "/v3/roles");
    assert_eq!((ids.len(), count), (605, 3));
    let own: Vec<&String> = ids.iter().filter(|id| id.starts_with("00000")).collect();
    assert_eq!(own, rows.iter().map(|(id, _)| id).collect::<Vec<_>>());
}

#[test]
fn each_collection_has_a_limit_of_its_own() {
    let s = Server::with(
        "[DEFAULT]\nlist_limit = 3\n[identity]\nlist_limit = 1\n[resource]\nlist_limit = 2\n\
         [role]\nlist_limit = 4\n[catalog]\nlist_limit = 1\n[unified_limit]\nlist_limit = 0\n",
    );
    let admin = s.admin();
    let made = |path: &str, name: &str, attributes: Value| {
        let answer = s.post(&admin, path, json!({ name: attributes })).expect(201);
        answer.body[name]["id"].as_str().unwrap_or_default().to_owned()
    };
    for n in 0..5 {
        s.domain(&format!("d{n}"));
        s.project(&format!("p{n}"));
        s.group(&format!("g{n}"), "default", &[]);
        s.user(&format!("u{n}"));
        made("/v3/regions", "region", json!({"id": format!("r{n}")}));
        let service = made("/v3/services", "service", json!({"type": format!("t{n}")}));
        let endpoint = json!({"service_id": service, "interface": "public", "url": "http://h"});
        made("/v3/endpoints", "endpoint", endpoint);
        let limit = json!([{"service_id": service, "resource_name": "cores", "default_limit": 1}]);
        s.post(&admin, "/v3/registered_limits", json!({"registered_limits": limit})).expect(201);
        let blob = json!({"type": "cert", "blob": "b", "user_id": s.user(&format!("v{n}"))});
        made("/v3/credentials", "credential", blob);
    }
    for (list, most) in [
        ("users", 1),
        ("groups", 1),
        ("projects", 2),
        ("domains", 2),
        ("roles", 4),
        ("regions", 1),
        ("services", 1),
        ("endpoints", 1),
        // What is set to none counts as not set.
        ("registered_limits", 3),
        ("credentials", 3),
    ] {
        let all = s.get(&admin, &format!("/v3/{list}")).expect(200).body;
        assert_eq!(
            (all[list].as_array().map(Vec::len), &all["truncated"]),
            (Some(most), &json!(true)),
            "{list}"
        );
        assert!(all["links"]["next"].is_string(), "{list}");
        // A client may have less, not more; and is told that there is more.
        for (asked, found) in [(1, 1), (100, most)] {
            let some = s.get(&admin, &format!("/v3/{list}?limit={asked}")).expect(200).body;
            assert_eq!(some[list].as_array().map(Vec::len), Some(found), "{list}");
            assert_eq!(some["truncated"], json!(true), "{list}");
        }
        assert!(pages(&s, &admin, list, &format!("/v3/{list}")).0.len() >= 5, "{list}");
    }
    let whole = s.get(&admin, "/v3/projects?name=p1").expect(200).body;
    assert_eq!((whole["projects"].as_array().map(Vec::len), whole.get("truncated")), (Some(1), None));
}

/// What a client asks, what the operator lets them have, and what no page goes beyond.
#[test]
fn max_db_limit_is_above_every_other_limit() {
    let stored =
        "[identity]\ndomain_specific_drivers_enabled = true\ndomain_configurations_from_database = true\n";
    let s = Server::with(&format!(
        "[DEFAULT]\nmax_db_limit = 3\nlist_limit = 4\n[resource]\nlist_limit = 2\n{stored}"
    ));
    let admin = s.admin();
    for n in 0..6 {
        s.project(&format!("p{n}"));
        s.group(&format!("g{n}"), "default", &[]);
        s.user(&format!("u{n}"));
    }
    let options = |list_limit: Value| json!({"config": {"identity": {"list_limit": list_limit}}});
    let path = "/v3/domains/default/config";
    let body = options(json!(5)).to_string();
    s.call("PUT", path, &[("X-Auth-Token", &admin)], Some(body.as_bytes())).expect(201);
    for (path, most) in [
        ("groups", 3),
        ("groups?limit=5", 3),
        ("groups?limit=1", 1),
        ("groups?domain_id=default", 3),
        ("users?domain_id=default", 3),
        ("users?limit=4", 3),
        ("roles", 3),
        ("projects", 2),
        ("projects?limit=5", 2),
    ] {
        let page = s.get(&admin, &format!("/v3/{path}")).expect(200).body;
        let list = path.split('?').next().expect("a part");
        assert_eq!(page[list].as_array().map(Vec::len), Some(most), "{path}");
        assert_eq!(page["truncated"], json!(true), "{path}");
        assert!(page["links"]["next"].is_string(), "{path}");
    }
    s.patch(&admin, path, options(json!(2))).expect(200);
    let page = s.get(&admin, "/v3/groups?domain_id=default").expect(200).body;
    assert_eq!(page["groups"].as_array().map(Vec::len), Some(2));
}

/// Keystone takes it on these two lists, and sorts by nothing.
#[test]
fn sort_dir_is_one_of_two_words() {
    let s = Server::start();
    let admin = s.admin();
    for (list, status) in
        [("users", 400), ("groups", 400), ("projects", 200), ("roles", 200), ("services", 200)]
    {
        for bad in ["sort_dir=up", "sort_dir=", "sort_dir=ASC", "sort_dir=up&sort_dir=asc"] {
            let answer = s.get(&admin, &format!("/v3/{list}?{bad}")).expect(status);
            assert!(status == 200 || answer.text.contains("sort_dir"), "{}", answer.text);
        }
        for good in ["sort_dir=asc", "sort_dir=desc", "sort_key=nope", "sort_dir=asc&sort_dir=up"] {
            s.get(&admin, &format!("/v3/{list}?{good}")).expect(200);
        }
    }
}

#[test]
fn what_is_stored_for_a_domain_limits_the_lists_of_its_users_and_groups() {
    let on = "[DEFAULT]\nlist_limit = 4\n[identity]\ndomain_specific_drivers_enabled = true\n";
    let both = format!("{on}domain_configurations_from_database = true\n");
    for (ini, has_effect) in [(both.as_str(), true), (on, false)] {
        let s = Server::with(ini);
        let admin = s.admin();
        let (small, large) = (s.domain("small"), s.domain("large"));
        for (domain, limit) in [(&small, json!(2)), (&large, json!("6"))] {
            let body = json!({"config": {"identity": {"list_limit": limit}}}).to_string();
            let path = format!("/v3/domains/{domain}/config");
            s.call("PUT", &path, &[("X-Auth-Token", &admin)], Some(body.as_bytes())).expect(201);
            let users: Vec<String> = (0..7).map(|n| s.user_in(&format!("u{n}"), domain)).collect();
            let members: Vec<&str> = users.iter().map(String::as_str).collect();
            let groups: Vec<String> = (0..7).map(|n| s.group(&format!("g{n}"), domain, &members)).collect();
            let wanted = match (has_effect, domain == &small) {
                (true, true) => 2,
                (true, false) => 6,
                (false, _) => 4,
            };
            let manager = on_domain(&s, &format!("m{limit}"), "reader", domain);
            for (token, list, path) in [
                (&admin, "users", format!("/v3/users?domain_id={domain}")),
                (&admin, "groups", format!("/v3/groups?domain_id={domain}")),
                (&manager, "users", "/v3/users".to_owned()),
                (&manager, "groups", "/v3/groups".to_owned()),
                (&admin, "users", format!("/v3/groups/{}/users", groups[0])),
                (&admin, "groups", format!("/v3/users/{}/groups", users[0])),
            ] {
                let found = s.get(token, &path).expect(200).body;
                assert_eq!(found[list].as_array().map(Vec::len), Some(wanted), "{path}");
                assert_eq!(found["truncated"], json!(true), "{path}");
                assert!(pages(&s, token, list, &path).0.len() >= 7, "{path}");
            }
        }
        // Nothing that is no number has an effect.
        s.sql_run("UPDATE whitelisted_config SET value = ?", &["{\"a\": [1]}".into()]);
        let found = s.get(&admin, &format!("/v3/groups?domain_id={small}")).expect(200).body;
        assert_eq!(found["groups"].as_array().map(Vec::len), Some(4));
    }
}

#[test]
fn a_marker_is_an_item_of_the_very_list() {
    let c = Cast::new();
    let alice = c.s.on("alice", &c.p);
    let (dead, living) = (c.trust(json!({"remaining_uses": 1})), c.trust(json!({"remaining_uses": 2})));
    c.s.delete(&alice, &format!("/v3/OS-TRUST/trusts/{dead}")).expect(204);
    let trusts = |user: &str, marker: &str| {
        format!("/v3/OS-TRUST/trusts?trustor_user_id={user}&limit=5&marker={marker}")
    };
    let page = c.s.get(&alice, &trusts(&c.alice, &living)).expect(200).body;
    assert_eq!(page["trusts"], json!([]));
    // There, but not in this list; and nowhere.
    for marker in [dead.as_str(), &c.alice, "nope", "%00", "", &living.to_uppercase()] {
        let refused = c.s.get(&alice, &trusts(&c.alice, marker)).expect(400);
        let text = refused.body["error"]["message"].as_str().expect("a message");
        assert!(text.starts_with("marker: "), "{text}");
    }
    let bob = c.s.unscoped("bob");
    c.s.get(&bob, &trusts(&c.bob, &living)).expect(400);
    let admin = c.s.admin();
    c.s.get(&admin, &format!("/v3/users?marker={}", c.p)).expect(400);
    c.s.get(&admin, &format!("/v3/users?name=bob&marker={}", c.alice)).expect(400);
    c.s.get(&admin, &format!("/v3/users?enabled=false&marker={}", c.alice)).expect(400);
    c.s.get(&admin, &format!("/v3/projects?marker={}", c.alice)).expect(400);
    c.s.get(&admin, "/v3/credentials?marker=nope").expect(400);
    c.s.get(&alice, &format!("/v3/users/{}/projects?marker=nope", c.alice)).expect(400);
    for path in ["/v3/users?limit=0", "/v3/projects?limit=-1", "/v3/OS-TRUST/trusts?limit=x"] {
        c.s.get(&admin, path).expect(400);
    }
}

#[test]
fn a_page_of_domains_reads_the_domains_that_are_on_it() {
    let s = Server::start();
    let admin = s.admin();
    let ids: Vec<String> = (0..7)
        .map(|n| {
            let body = json!({"domain": {"name": format!("d{n}"), "enabled": n != 3, "tags": ["x"]}});
            let made = s.post(&admin, "/v3/domains", body).expect(201);
            s.project(&format!("p{n}"));
            made.body["domain"]["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    for limit in [1, 2, 3, 100] {
        let of = |query: &str| paged(&s, &admin, "domains", &format!("/v3/domains{query}"), limit);
        let mut all: BTreeSet<String> = ids.iter().cloned().collect();
        assert_eq!(of("?enabled=false"), [ids[3].clone()].into());
        assert_eq!(of("?name=d1"), [ids[1].clone()].into());
        assert_eq!(of("?name__startswith=d"), all);
        all.insert("default".to_owned());
        assert_eq!(of(""), all);
        let manager = on_domain(&s, &format!("m{limit}"), "manager", &ids[5]);
        assert_eq!(paged(&s, &manager, "domains", "/v3/domains", limit), [ids[5].clone()].into());
        s.get(&manager, &format!("/v3/domains?marker={}", ids[4])).expect(400);
    }
    s.get(&admin, &format!("/v3/domains?marker={}", s.project("p"))).expect(400);
    s.get(&admin, "/v3/domains?limit=0").expect(400);
    let (_, said) = s.app.store.watched(|| s.get(&admin, "/v3/domains?limit=2").expect(200));
    let reads = said.iter().filter(|sql| sql.contains("p.is_domain = ?")).collect::<Vec<_>>();
    assert!(reads.len() == 1 && reads[0].ends_with("ORDER BY p.id LIMIT 3"), "{reads:#?}");
}

/// Many trusts are read in many batches, others' lists of the same time too; each batch counts.
#[test]
fn a_list_of_many_batches_is_whole() {
    const MANY: usize = 1234;
    let c = Cast::new();
    let role = c.s.role("member");
    let expired = 1_000_000_i64;
    let rows: Vec<(String, i64)> =
        (0..MANY).map(|n| (format!("{n:032x}"), if n % 100 == 7 { expired } else { 0 })).collect();
    for part in rows.chunks(200) {
        let places = vec!["(?, ?, ?, ?, ?, '{}', 0, ?)"; part.len()].join(", ");
        let args: Vec<_> = part
            .iter()
            .flat_map(|(id, end)| {
                args![id, &c.alice, &c.bob, &c.p, true, Some(*end).filter(|e| *e > 0)].to_vec()
            })
            .collect();
        c.s.sql_run(
            &format!(
                "INSERT INTO trust (id, trustor_user_id, trustee_user_id, project_id, impersonation, extra,
                     redelegation_count, expires_at_int) VALUES {places}"
            ),
            &args,
        );
        let places = vec!["(?, ?)"; part.len()].join(", ");
        let args: Vec<_> = part.iter().flat_map(|(id, _)| args![id, &role].to_vec()).collect();
        c.s.sql_run(&format!("INSERT INTO trust_role (trust_id, role_id) VALUES {places}"), &args);
    }
    let alice = c.s.on("alice", &c.p);
    let count = |more: &str, limit| {
        let path = format!("/v3/OS-TRUST/trusts?trustor_user_id={}{more}", c.alice);
        paged(&c.s, &alice, "trusts", &path, limit).len()
    };
    assert_eq!(count("", 500), MANY - 13);
    assert_eq!(count("&state=all", 700), MANY);
    assert_eq!(count("&state=expired", 5), 13);
    let seen = c.s.get(&alice, &format!("/v3/users/{}/delegations", c.alice)).expect(200).body;
    let acting: BTreeSet<&str> = seen["delegations"]["acting_for_user"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|t| t["id"].as_str())
        .collect();
    assert_eq!(acting.len(), MANY - 13);
}

#[test]
fn a_user_gives_no_more_living_trusts_than_the_ceiling() {
    let c = Cast::with("[delegation]\nmax_trusts_per_user = 2\n");
    let first = c.trust(json!({"allow_redelegation": true}));
    c.trust(json!({"remaining_uses": 6, "expires_at": "2999-01-01T00:00:00Z"}));
    let text =
        "The trustor has given 2 living trusts, and may give no more ([delegation] max_trusts_per_user).";
    assert_eq!(c.make(json!({"remaining_uses": 7})).expect(403).body["error"]["message"], text);
    // What a trustee passes on counts for whoever its tokens speak for.
    let bearer = c.s.consume("bob", &first).expect(201).token();
    let below = json!({"trust": {
        "trustor_user_id": c.alice, "trustee_user_id": c.carol, "project_id": c.p,
        "impersonation": true, "roles": [{"name": "member"}],
    }});
    c.s.post(&bearer, "/v3/OS-TRUST/trusts", below).expect(403);
    // One that ended makes room.
    c.s.delete(&c.s.on("alice", &c.p), &format!("/v3/OS-TRUST/trusts/{first}")).expect(204);
    c.trust(json!({"remaining_uses": 7}));
    c.make(json!({"remaining_uses": 8})).expect(403);
    let any = Cast::with("[delegation]\nmax_trusts_per_user = 0\n");
    any.trust(json!({}));
}

#[test]
fn a_user_has_no_more_credentials_than_the_ceiling() {
    let c = Cast::with("[delegation]\nmax_credentials_per_user = 1\n");
    let alice = c.s.on("alice", &c.p);
    let k: Value = c.keypair(&alice, &c.alice, json!({})).expect(201).body["credential"].clone();
    let text = "The user has 1 credentials, and may have no more ([delegation] max_credentials_per_user).";
    assert_eq!(c.keypair(&alice, &c.alice, json!({})).expect(403).body["error"]["message"], text);
    let totp = json!({"credential": {"type": "totp", "user_id": c.alice, "blob": "SEED"}});
    c.s.post(&alice, "/v3/credentials", totp).expect(403);
    let access = k["access"].as_str().expect("an access id");
    c.s.delete(&alice, &format!("/v3/users/{}/credentials/OS-EC2/{access}", c.alice)).expect(204);
    c.keypair(&alice, &c.alice, json!({})).expect(201);
}

/// What is compared in the test below: with what patterns use, of several cases, and beyond ASCII. No two are the same
/// name on a MariaDB.
const STRINGS: [&str; 14] = [
    "Ann",
    "anna",
    "ANN_x",
    "a%b",
    "a_b",
    "axb",
    "50!",
    "back\\slash",
    "qu'ote",
    "ÄNNE",
    "änns",
    "Kilo",
    "\u{212a}ilos",
    "ınn İx",
];

/// The model of a comparison. One that nobody knows is no condition.
fn compares(how: &str, found: &str, wanted: &str) -> bool {
    let (case, how) = match how.strip_prefix('i') {
        Some(how) if how != "not" => (true, how),
        _ => (false, how),
    };
    let (lower_found, lower_wanted) = (found.to_lowercase(), wanted.to_lowercase());
    let (f, w) = if case { (lower_found.as_str(), lower_wanted.as_str()) } else { (found, wanted) };
    match how {
        "contains" => f.contains(w),
        "startswith" => f.starts_with(w),
        "endswith" => f.ends_with(w),
        "equals" => found == wanted,
        _ => true,
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

/// Every list, every string by which it can be filtered, every comparison.
#[test]
fn every_comparison_of_every_list_is_that_of_the_model() {
    let s = Server::start();
    let admin = s.admin();
    let (place, crew) = (s.domain("place"), s.domain("crew"));
    let make = |path: &str, kind: &str, body: Value| {
        let made = s.post(&admin, path, json!({ kind: body })).expect(201).body;
        made[kind]["id"].as_str().unwrap_or_default().to_owned()
    };
    let parent = make("/v3/projects", "project", json!({"name": "parent"}));
    let (mut users, mut groups) = (Vec::new(), Vec::new());
    let service = make("/v3/services", "service", json!({"type": "x"}));
    for (n, text) in STRINGS.iter().enumerate() {
        let mut of = json!({"name": text, "domain_id": if n % 2 == 0 { &place } else { "default" }});
        users.push(make("/v3/users", "user", of.clone()));
        groups.push(make("/v3/groups", "group", of.clone()));
        if n % 3 == 0 && n % 2 == 1 {
            of["parent_id"] = json!(parent);
        }
        make("/v3/projects", "project", of);
        make("/v3/domains", "domain", json!({"name": format!("{text}.")}));
        make("/v3/roles", "role", json!({"name": text}));
        make("/v3/roles", "role", json!({"name": text, "domain_id": crew}));
        let region = make("/v3/regions", "region", json!({"id": format!("r{n}")}));
        if n > 0 {
            let below = json!({"region": {"parent_region_id": format!("r{}", n - 1)}});
            s.patch(&admin, &format!("/v3/regions/{region}"), below).expect(200);
        }
        let mut typed = json!({"type": text});
        if n % 2 == 0 {
            typed["name"] = json!(text);
        }
        make("/v3/services", "service", typed);
        let interface = ["public", "internal", "admin"][n % 3];
        let endpoint = json!({"service_id": service, "interface": interface, "url": "http://h"});
        let endpoint = make("/v3/endpoints", "endpoint", endpoint);
        if n % 2 == 0 {
            let body = json!({"endpoint": {"region_id": region}});
            s.patch(&admin, &format!("/v3/endpoints/{endpoint}"), body).expect(200);
        }
        let limits = json!([{"service_id": service, "resource_name": text, "default_limit": 1}]);
        s.post(&admin, "/v3/registered_limits", json!({"registered_limits": limits})).expect(201);
        let limits = json!([{"service_id": service, "resource_name": text, "project_id": parent, "resource_limit": 1}]);
        s.post(&admin, "/v3/limits", json!({"limits": limits})).expect(201);
        make("/v3/credentials", "credential", json!({"type": text, "blob": "b", "user_id": users[n]}));
    }
    for (user, group) in
        users.iter().map(|u| (u, &groups[0])).chain(groups.iter().skip(1).map(|g| (&users[0], g)))
    {
        s.put(&admin, &format!("/v3/groups/{group}/users/{user}")).expect(204);
    }
    s.assign("UserProject", &users[0], &parent, &s.role("member"), false);
    let mut asked = 0;
    for (list, path, names) in [
        ("users", "/v3/users?".to_owned(), &["name", "domain_id"][..]),
        ("groups", "/v3/groups?".to_owned(), &["name", "domain_id"]),
        ("projects", "/v3/projects?".to_owned(), &["name", "domain_id", "parent_id"]),
        ("domains", "/v3/domains?".to_owned(), &["name"]),
        ("roles", "/v3/roles?".to_owned(), &["name", "domain_id"]),
        ("roles", format!("/v3/roles?domain_id={crew}&"), &["name"]),
        ("regions", "/v3/regions?".to_owned(), &["parent_region_id"]),
        ("services", "/v3/services?".to_owned(), &["name", "type"]),
        ("endpoints", "/v3/endpoints?".to_owned(), &["interface", "service_id", "region_id"]),
        (
            "registered_limits",
            "/v3/registered_limits?".to_owned(),
            &["service_id", "region_id", "resource_name"],
        ),
        ("limits", "/v3/limits?".to_owned(), &["service_id", "region_id", "resource_name", "project_id"]),
        ("credentials", "/v3/credentials?".to_owned(), &["type", "user_id"]),
        ("users", format!("/v3/groups/{}/users?", groups[0]), &["name", "domain_id"]),
        ("groups", format!("/v3/users/{}/groups?", users[0]), &["name"]),
        ("projects", format!("/v3/users/{}/projects?", users[0]), &["name", "domain_id"]),
    ] {
        let all =
            s.get(&admin, &format!("{path}_=")).expect(200).body[list].as_array().expect("a list").clone();
        assert!(!all.is_empty(), "{path}");
        for name in names {
            let wanted: BTreeSet<String> =
                [
                    "", "an", "ANN", "%", "_", "a_b", "!", "\\", "'", "Ä", "ä", "K", "ki", "\u{212a}", "İ",
                    "i", "s",
                ]
                .iter()
                .map(|w| (*w).to_owned())
                .chain(all.iter().take(2).filter_map(|i| i[name].as_str()).map(|found| {
                    found.chars().skip(1).take(5).flat_map(char::to_uppercase).collect::<String>()
                }))
                .collect();
            for how in [
                "contains",
                "icontains",
                "startswith",
                "istartswith",
                "endswith",
                "iendswith",
                "equals",
                "not",
                "inot",
                "",
            ] {
                for wanted in &wanted {
                    let path = format!("{path}{name}__{how}={}", encoded(wanted));
                    let found = s.get(&admin, &path).expect(200);
                    let model = all.iter().filter(|item| match item[name].as_str() {
                        Some(found) => compares(how, found, wanted),
                        None => match how {
                            "equals" => wanted.is_empty(),
                            _ => matches!(how, "not" | "inot" | ""),
                        },
                    });
                    let model: Vec<&Value> = model.map(|i| &i["id"]).collect();
                    let found: Vec<&Value> =
                        found.body[list].as_array().expect("a list").iter().map(|i| &i["id"]).collect();
                    assert_eq!(found, model, "{path}: {wanted:?}");
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 4000, "{asked}");
    // All of several conditions; a string that nothing has; one that is too long for any.
    for (query, found) in [
        ("name__istartswith=a&name__iendswith=b".to_owned(), 3),
        ("name=Ann&name=anna".to_owned(), 0),
        (format!("name=Ann&name__startswith=A&domain_id={place}"), 1),
        ("name__contains=%00".to_owned(), 0),
        (format!("name__icontains={}", "x".repeat(60_000)), 0),
        ("name__unheard=x&unheard__contains=y".to_owned(), STRINGS.len() + 1),
    ] {
        let answer = s.get(&admin, &format!("/v3/users?{query}")).expect(200).body;
        assert_eq!(answer["users"].as_array().map(Vec::len), Some(found), "{query:.60}");
    }
    // What does not fit is not read.
    let (_, said) = s.app.store.watched(|| s.get(&admin, "/v3/groups?name__contains=slash").expect(200));
    assert!(said.iter().any(|sql| sql.contains("LOWER(t.\"name\") LIKE ? ESCAPE '!'")), "{said:#?}");
}

#[test]
fn tag_filters_compare_whole_tags() {
    let s = Server::start();
    let admin = s.admin();
    let project = |name: &str, tags: &[&str]| {
        let id = s.project(name);
        let body = json!({"tags": tags}).to_string();
        let path = format!("/v3/projects/{id}/tags");
        s.call("PUT", &path, &[("X-Auth-Token", &admin)], Some(body.as_bytes())).expect(200);
        id
    };
    let all =
        [project("one", &["a", "b"]), project("two", &["a"]), project("three", &["B"]), project("four", &[])];
    let found = |query: &str| -> Vec<usize> {
        let ids = paged(&s, &admin, "projects", &format!("/v3/projects?{query}"), 2);
        (0..4).filter(|n| ids.contains(&all[*n])).collect()
    };
    assert_eq!(found("tags=a"), [0, 1]);
    assert_eq!(found("tags=b,a"), [0]);
    assert_eq!(found("tags=a,a"), [0, 1]);
    assert_eq!(found("tags-any=a,B"), [0, 1, 2]);
    assert_eq!(found("not-tags=a,b"), [1, 2, 3]);
    assert_eq!(found("not-tags-any=a,b"), [2, 3]);
    assert_eq!(found("tags=a&not-tags-any=b"), [1]);
    assert_eq!(found("tags="), [0; 0]);
    let many: Vec<String> = (0..5000).map(|n| format!("t{n}")).collect();
    assert_eq!(found(&format!("not-tags-any={}", many.join(","))), [0, 1, 2, 3]);
}
