//! Where a job's callback goes: the operator's address, or the job's own where that is allowed.

use url::Url;

use crate::config::CallbackSettings;
use crate::config::callback::address;

/// Where a callback goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// `None`: it is written beside the assets and posted nowhere.
    pub url: Option<Url>,
    /// Why the job's own address is not used.
    pub note: Option<String>,
}

/// Decides between the operator's address and `own`, the job's `callback_url`.
///
/// The job's is used when it equals the operator's or its host is on `callback.allow_hosts`: a job
/// is a stranger's text, and its address could be one inside the operator's network.
pub fn target(own: Option<&str>, settings: &CallbackSettings) -> Target {
    let configured = settings.url.clone();
    let Some(own) = own else {
        return Target {
            url: configured,
            note: None,
        };
    };
    let why = match address(own) {
        Ok(url) if Some(&url) == configured.as_ref() || is_allowed(&url, &settings.allow_hosts) => {
            return Target {
                url: Some(url),
                note: None,
            };
        }
        // The note goes into manifests too, and the address is nobody else's business.
        Ok(_) => "its host is not on callback.allow_hosts".into(),
        Err(error) => format!("it {error}"),
    };
    Target {
        url: configured,
        note: Some(format!("callback_url is ignored: {why}")),
    }
}

/// `host` entries compare the host alone, `host:port` entries both.
fn is_allowed(url: &Url, allowed: &[String]) -> bool {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return false;
    };
    let with_port = format!("{host}:{port}");
    allowed.iter().any(|entry| *entry == host || *entry == with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: Option<&str>, allow: &[&str]) -> CallbackSettings {
        CallbackSettings {
            url: url.map(|u| address(u).unwrap()),
            allow_hosts: allow.iter().map(|h| h.to_string()).collect(),
            ..CallbackSettings::default()
        }
    }

    fn used(own: &str, settings: &CallbackSettings) -> bool {
        let target = target(Some(own), settings);
        target.note.is_none()
    }

    #[test]
    fn a_jobs_own_address_is_used_where_the_operator_allows_its_host() {
        let allowed = settings(None, &["example.com", "other.org:8443"]);
        assert!(used("https://example.com/a", &allowed));
        assert!(used("http://EXAMPLE.com:81/a", &allowed));
        assert!(used("https://other.org:8443/", &allowed));
        for own in [
            "https://other.org/",
            "https://example.com.evil.org/",
            "https://a.example.com/",
            "https://user@example.com/",
            "ftp://example.com/",
            "example.com",
            "",
        ] {
            assert!(!used(own, &allowed), "{own}");
        }
    }

    #[test]
    fn the_operators_own_address_needs_no_list_and_stands_in_for_others() {
        let configured = settings(Some("https://mine.org/hook?x=1"), &[]);
        assert!(used("https://mine.org/hook?x=1", &configured));
        let target = target(Some("https://10.0.0.1/"), &configured);
        assert_eq!(target.url, configured.url);
        let note = target.note.unwrap();
        assert!(note.contains("ignored") && !note.contains("10.0.0.1"), "{note}");
    }

    #[test]
    fn default_ports_are_ports_too() {
        assert!(used(
            "https://example.com/",
            &settings(None, &["example.com:443"])
        ));
        assert!(!used(
            "http://example.com/",
            &settings(None, &["example.com:443"])
        ));
        assert!(used("http://[::1]:9/", &settings(None, &["[::1]"])));
    }
}
