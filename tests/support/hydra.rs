//! A Hydra that the environment names. Others may use it as well: only clients that carry this run's installation, or that
//! this run planted, are ever looked at, changed or deleted.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};

use super::World;
use super::admin::AdminServer;
use super::operator::INSTALLATION;

/// Name of the AuthorizationServer that [`Hydra::serve`] makes.
const NAME: &str = "hydra";

/// What is missing where a story of Hydra is skipped.
pub const LACK: &str = "HYDRA_ADMIN_URL and HYDRA_PUBLIC_URL name no Hydra";

/// Admin and public URL, without a slash at the end; `None` where the environment names none.
pub fn urls() -> Option<(String, String)> {
    let url = |name: &str| std::env::var(name).ok().filter(|url| !url.is_empty());
    let without_slash = |url: String| url.trim_end_matches('/').to_owned();
    Some((without_slash(url("HYDRA_ADMIN_URL")?), without_slash(url("HYDRA_PUBLIC_URL")?)))
}

/// A Hydra.
pub struct Hydra {
    /// Where its admin API is.
    pub admin_url: String,
    /// What it calls itself.
    pub issuer: String,
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    /// This run's own, once there is one.
    installation: RefCell<String>,
    planted: RefCell<BTreeSet<String>>,
}

impl Hydra {
    /// The one that the environment names.
    pub fn named() -> Option<Self> {
        let (admin_url, public_url) = urls()?;
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .tls_certs_only(Vec::new())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (installation, planted) = Default::default();
        let mut hydra = Self { admin_url, issuer: String::new(), runtime, http, installation, planted };
        let known = hydra.ask(hydra.http.get(format!("{public_url}/.well-known/openid-configuration"))).1;
        known["issuer"].as_str().expect("an issuer").clone_into(&mut hydra.issuer);
        Some(hydra)
    }

    /// Makes the AuthorizationServer, with these members besides the usual ones. The operator must have begun.
    pub fn serve(&self, w: &World, members: &Value) {
        *self.installation.borrow_mut() = w.installation(INSTALLATION);
        let mut spec = json!({
            "issuer": self.issuer,
            "backend": {"hydra": {"adminUrl": self.admin_url}},
            "allowPlainHttp": true,
            "allowedNamespaces": {"names": ["*"]},
        });
        for (key, value) in members.as_object().expect("members") {
            spec[key] = value.clone();
        }
        let server = json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "AuthorizationServer", "metadata": {"name": NAME}, "spec": spec,
        });
        w.apply(&server).expect("make an AuthorizationServer");
        w.wait(&self.object(), "condition=Ready");
    }

    /// The owner of this run's clients.
    fn owner(&self) -> String {
        let installation = self.installation.borrow();
        assert!(!installation.is_empty(), "the operator has no installation yet");
        format!("oauthclient-operator/{installation}")
    }

    fn ask(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let (status, body, _) = self.send(request);
        (status, body)
    }

    /// Status, body, and the token of the next page.
    fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value, Option<String>) {
        self.runtime.block_on(async {
            let answer = request.send().await.expect("ask Hydra");
            let status = answer.status().as_u16();
            let links = answer.headers().get_all("link").iter().filter_map(|l| l.to_str().ok());
            let links: Vec<String> = links.flat_map(|l| l.split(',')).map(str::to_owned).collect();
            let next = links.iter().find(|l| l.contains("rel=\"next\"")).and_then(|l| {
                let rest = l.split("page_token=").nth(1)?;
                rest.split(['&', '>']).next().map(str::to_owned)
            });
            let text = answer.text().await.expect("a body");
            (status, serde_json::from_str(&text).unwrap_or(Value::Null), next)
        })
    }

    /// Asks the admin API for one client, or of it.
    fn of_client(&self, method: Method, id: &str, body: Option<&Value>) -> (u16, Value) {
        assert!(!id.is_empty());
        let mut request = self.http.request(method, format!("{}/admin/clients/{id}", self.admin_url));
        if let Some(body) = body {
            request = request.json(body);
        }
        // Where it keeps its data in SQLite it turns away what comes at the same time as something else.
        let mut answer = (0, Value::Null);
        for _ in 0..20 {
            answer = self.ask(request.try_clone().expect("a body that can be sent again"));
            if !answer.1["error"].as_str().is_some_and(|e| e.contains("serialize access")) {
                break;
            }
        }
        answer
    }

    /// Changes a client.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Value)) {
        let mut client = self.client(id);
        change(&mut client);
        let (status, body) = self.of_client(Method::PUT, id, Some(&client));
        assert_eq!(status, 200, "{body}");
    }

    /// All clients of an owner, page by page.
    fn owned_by(&self, owner: &str) -> Vec<Value> {
        let (mut all, mut token) = (Vec::new(), None::<String>);
        loop {
            let mut url = reqwest::Url::parse(&format!("{}/admin/clients", self.admin_url)).expect("a URL");
            url.query_pairs_mut().extend_pairs([("owner", owner), ("page_size", "250")]);
            // The token comes as it is in a URL.
            let more = token.map(|t| format!("&page_token={t}")).unwrap_or_default();
            let (status, page, next) = self.send(self.http.get(format!("{url}{more}")));
            assert_eq!(status, 200, "{page}");
            all.extend(page.as_array().expect("clients").iter().filter(|c| c["owner"] == owner).cloned());
            let Some(next) = next else { return all };
            token = Some(next);
        }
    }

    fn plant(&self, client: &Value) {
        let id = client["client_id"].as_str().expect("an id").to_owned();
        let url = format!("{}/admin/clients", self.admin_url);
        let (status, body) = self.ask(self.http.post(url).json(client));
        assert_eq!(status, 201, "{body}");
        self.planted.borrow_mut().insert(id);
    }
}

impl AdminServer for Hydra {
    fn name(&self) -> &'static str {
        NAME
    }

    fn clients(&self) -> Vec<Value> {
        let mut all: BTreeMap<String, Value> = BTreeMap::new();
        let id = |c: &Value| c["client_id"].as_str().expect("an id").to_owned();
        all.extend(self.owned_by(&self.owner()).into_iter().map(|c| (id(&c), c)));
        for planted in self.planted.borrow().iter().filter(|id| !all.contains_key(*id)).cloned().collect::<Vec<_>>() {
            let (status, client) = self.of_client(Method::GET, &planted, None);
            match status {
                200 => all.insert(planted, client),
                404 => None,
                other => panic!("{other} {client}"),
            };
        }
        all.into_values().collect()
    }

    fn id_member(&self) -> &'static str {
        "client_id"
    }

    fn plant_unmarked(&self, id: &str) {
        self.plant(&json!({"client_id": id, "client_secret": "a-secret-of-theirs", "client_name": "somebody's"}));
    }

    fn plant_like(&self, like: &str, id: &str, (installation, entry): (&str, &str)) {
        let mut client = self.client(like);
        client["client_id"] = json!(id);
        client["owner"] = json!(format!("oauthclient-operator/{installation}"));
        client["metadata"]["entry"] = json!(entry);
        self.plant(&client);
    }

    fn plant_marked(&self, id: &str, (installation, entry): (&str, &str)) {
        let owner = format!("oauthclient-operator/{installation}");
        self.plant(&json!({"client_id": id, "owner": owner, "metadata": {"entry": entry}}));
    }

    fn remove(&self, id: &str) {
        assert_eq!(self.of_client(Method::DELETE, id, None).0, 204);
    }

    fn scopes(&self, id: &str) -> Vec<String> {
        self.client(id)["scope"].as_str().expect("scopes").split_whitespace().map(str::to_owned).collect()
    }

    fn keys(&self, id: &str) -> Vec<Value> {
        self.client(id)["jwks"]["keys"].as_array().expect("keys").clone()
    }

    fn widen(&self, id: &str) {
        self.change(id, |c| {
            c["scope"] = json!("reports.read reports.write");
            c["grant_types"] = json!(["client_credentials", "implicit"]);
            c["audience"] = json!(["https://evil.example"]);
            c["skip_consent"] = json!(true);
        });
    }

    fn is_narrow(&self, id: &str) -> bool {
        let now = self.client(id);
        now["scope"] == "reports.read"
            && now["grant_types"] == json!(["client_credentials"])
            && now["audience"].as_array().is_none_or(Vec::is_empty)
            && now["skip_consent"] == false
    }

    fn set_key(&self, id: &str, key: &Value) {
        self.change(id, |c| c["jwks"] = json!({"keys": [key]}));
    }

    fn switch(&self, _: &str, _: bool) -> bool {
        false
    }

    fn introspect(&self, token: &str) -> Value {
        let url = format!("{}/admin/oauth2/introspect", self.admin_url);
        let (status, answer) = self.ask(self.http.post(url).form(&[("token", token)]));
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

impl Drop for Hydra {
    /// What a story that failed left behind goes, as far as it can be had; the operator is stopped by then.
    fn drop(&mut self) {
        let installation = self.installation.take();
        if installation.is_empty() {
            return;
        }
        let owner = format!("oauthclient-operator/{installation}");
        let all = format!("{}/admin/clients", self.admin_url);
        let planted: Vec<String> = self.planted.take().into_iter().collect();
        self.runtime.block_on(async {
            for id in planted {
                let _ = self.http.delete(format!("{all}/{id}")).send().await;
            }
            // A page of them at a time, until none is left or nothing helps.
            for _ in 0..20 {
                let Ok(url) = reqwest::Url::parse_with_params(&all, [("owner", owner.as_str()), ("page_size", "250")])
                else {
                    return;
                };
                let Ok(answer) = self.http.get(url).send().await else { return };
                let page: Vec<Value> = answer.json().await.unwrap_or_default();
                let ours: Vec<&str> =
                    page.iter().filter(|c| c["owner"] == *owner).filter_map(|c| c["client_id"].as_str()).collect();
                if ours.is_empty() {
                    return;
                }
                for id in ours {
                    let _ = self.http.delete(format!("{all}/{id}")).send().await;
                }
            }
        });
    }
}
