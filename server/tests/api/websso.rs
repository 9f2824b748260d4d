//! Logins through a browser by what a front server says of whom it has logged in: the page that takes the token to a dashboard.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Answer, Server, domain};

const PROVIDERS: &str = "/v3/OS-FEDERATION/identity_providers";
const BY_PROVIDER: &str = "/v3/auth/OS-FEDERATION/identity_providers/idp/protocols/mapped/websso";
const BY_PROTOCOL: &str = "/v3/auth/OS-FEDERATION/websso/mapped";
const DASHBOARD: &str = "https://dash.example/auth/websso/?a=1&b='";
const ANN: (&str, &str) = ("OIDC-sub", "ann");
const CAMPUS: (&str, &str) = ("OIDC-iss", "https://campus");

/// A server behind a front server, with the provider `idp`, its protocol `mapped` and a second provider.
struct Cloud {
    s: Server,
    admin: String,
}

impl Cloud {
    fn new(ini: &str) -> Self {
        let s = Server::with(&format!(
            "[vicar]\nassertion_headers = OIDC-\ntrusted_proxies = 127.0.0.1\n[federation]\ntrusted_dashboard = \
             {}\ntrusted_dashboard = http://other/\n{ini}[mapped]\nremote_id_attribute = HTTP_OIDC_ISS\n",
            DASHBOARD.replace("dash", "DASH")
        ));
        let admin = s.admin();
        let c = Self { s, admin };
        domain(&c.s, "D");
        let rules = json!([{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "HTTP_OIDC_SUB"}]}]);
        c.put("/v3/OS-FEDERATION/mappings/m", json!({"mapping": {"rules": rules}}));
        for (id, remote) in [("idp", "https://campus"), ("another", "https://another")] {
            let body = json!({"enabled": true, "domain_id": "D", "remote_ids": [remote]});
            c.put(&format!("{PROVIDERS}/{id}"), json!({"identity_provider": body}));
            c.put(&format!("{PROVIDERS}/{id}/protocols/mapped"), json!({"protocol": {"mapping_id": "m"}}));
        }
        c
    }

    fn put(&self, path: &str, body: Value) {
        let token = ("X-Auth-Token", self.admin.as_str());
        self.s.call("PUT", path, &[token], Some(body.to_string().as_bytes())).expect(201);
    }

    fn browse(&self, path: &str, origin: &str, headers: &[(&str, &str)]) -> Answer {
        self.s.call("GET", &at(path, origin), headers, None)
    }
}

fn at(path: &str, origin: &str) -> String {
    format!("{path}?origin={}", origin.replace('&', "%26"))
}

/// The value of an attribute that occurs once in a page.
pub fn attribute(page: &str, before: &str) -> String {
    let found: Vec<&str> = page.split(before).skip(1).collect();
    let [found] = found.as_slice() else { panic!("{before} is not there once: {page}") };
    found.split('"').next().expect("a value").to_owned()
}

#[test]
fn who_comes_from_a_dashboard_goes_back_with_a_token() {
    let c = Cloud::new("");
    for path in [BY_PROVIDER, BY_PROTOCOL] {
        for method in ["GET", "POST"] {
            let answer = c.s.call(method, &at(path, DASHBOARD), &[ANN, CAMPUS], None).expect(200);
            let page = &answer.text;
            assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(attribute(page, "action=\""), DASHBOARD.replace('&', "&amp;").replace('\'', "&#39;"));
            assert!(page.contains("method=\"post\"") && page.contains("<input type=\"submit\""), "{page}");
            // The browser runs the script, and nothing else.
            let script = page.split("<script>").nth(1).and_then(|rest| rest.split("</script>").next());
            let hash = STANDARD.encode(Sha256::digest(script.expect("a script")));
            let policy = answer.header("content-security-policy").expect("a policy").to_owned();
            assert!(policy.contains(&format!("script-src 'sha256-{hash}';")), "{policy}");
            assert!(
                policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
                "{policy}"
            );
            let token = attribute(page, "name=\"token\" id=\"token\" value=\"");
            let shown = c.s.validate(&token).expect(200).body["token"].clone();
            assert_eq!((&shown["user"]["name"], &shown["methods"]), (&json!("ann"), &json!(["mapped"])));
            assert_eq!(shown["user"]["OS-FEDERATION"]["identity_provider"]["id"], "idp");
        }
    }
    // Quoted twice it is the same, and the first one counts.
    c.browse(BY_PROVIDER, &DASHBOARD.replace('/', "%252F"), &[ANN, CAMPUS]).expect(200);
    c.browse(BY_PROVIDER, "http://other/&origin=x", &[ANN, CAMPUS]).expect(401);
    let two = format!("{BY_PROVIDER}?origin=http://other/&origin=http://elsewhere/");
    assert_eq!(
        attribute(&c.s.call("GET", &two, &[ANN, CAMPUS], None).expect(200).text, "action=\""),
        "http://other/"
    );
}

#[test]
fn a_token_goes_to_trusted_dashboards_alone() {
    let c = Cloud::new("");
    for path in [BY_PROVIDER, BY_PROTOCOL] {
        for wrong in [
            "http://elsewhere/",
            "http://other",
            "http://OTHER/",
            "http://other/x",
            "http://other/?",
            "http://other/%00",
        ] {
            let answer = c.browse(path, wrong, &[ANN, CAMPUS]).expect(401);
            assert_eq!(answer.logged.request["reason"], "untrusted-dashboard", "{wrong}");
        }
        for missing in [path.to_owned(), format!("{path}?origin=")] {
            let answer = c.s.call("GET", &missing, &[ANN, CAMPUS], None).expect(400);
            assert!(answer.text.contains("origin"), "{}", answer.text);
        }
    }
    // Nobody is stored who gets no token.
    assert_eq!(crate::support::count(&c.s, "SELECT id FROM federated_user", &[]), 0);
    let none = Server::with("[vicar]\nassertion_headers = OIDC-\ntrusted_proxies = 127.0.0.1\n");
    none.call("GET", &at(BY_PROVIDER, "http://other/"), &[ANN], None).expect(401);
}

#[test]
fn the_provider_is_found_by_its_own_id() {
    let c = Cloud::new("");
    let user = |iss: &str| c.browse(BY_PROTOCOL, "http://other/", &[ANN, ("OIDC-iss", iss)]);
    let token = attribute(&user("https://another").expect(200).text, "id=\"token\" value=\"");
    let shown = c.s.validate(&token).expect(200);
    assert_eq!(shown.body["token"]["user"]["OS-FEDERATION"]["identity_provider"]["id"], "another");
    user("https://nowhere").expect(404);
    // Nobody says who it is; that comes before where the token shall go.
    c.browse(BY_PROTOCOL, "http://elsewhere/", &[ANN]).expect(401);
    c.s.call("GET", BY_PROTOCOL, &[ANN], None).expect(401);
    c.s.call("GET", "/v3/auth/OS-FEDERATION/websso/nope?origin=http://other/", &[ANN, CAMPUS], None)
        .expect(401);
    // By the address of a provider another one does not speak, nor nobody.
    c.browse(BY_PROVIDER, "http://other/", &[ANN, ("OIDC-iss", "https://another")]).expect(403);
    c.browse(BY_PROVIDER, "http://other/", &[CAMPUS]).expect(401);
    c.browse(&BY_PROVIDER.replace("idp", "nope"), "http://other/", &[ANN, CAMPUS]).expect(404);
    // A protocol can name another attribute.
    let body = json!({"protocol": {"mapping_id": "m", "remote_id_attribute": "OIDC-own"}});
    c.put(&format!("{PROVIDERS}/idp/protocols/openid"), body);
    let path = BY_PROTOCOL.replace("mapped", "openid");
    let own = [ANN, ("OIDC-own", "https://campus")];
    // It is found, and then the method is not among those that are configured.
    let answer = c.browse(&path, "http://other/", &own).expect(401);
    assert_eq!(answer.logged.request["reason"], "no-such-method");
}

#[test]
fn the_page_can_be_a_file() {
    let file = std::env::temp_dir().join(format!("vicar-sso-{}.html", vicar::ids::uuid()));
    std::fs::write(&file, "<form action='$host'>${token}</form>$$").expect("writes");
    let c = Cloud::new(&format!("sso_callback_template = {}\n", file.display()));
    std::fs::remove_file(&file).expect("it was there");
    let answer = c.browse(BY_PROVIDER, "http://other/", &[ANN, CAMPUS]).expect(200);
    let token =
        answer.text.strip_prefix("<form action='http://other/'>").and_then(|t| t.strip_suffix("</form>$"));
    c.s.validate(token.expect("the page")).expect(200);
    // Its script is not known here.
    let policy = answer.header("content-security-policy").expect("a policy").to_owned();
    assert!(!policy.contains("script-src") && !policy.contains("default-src"), "{policy}");
}
