//! Taking an artifact's URL apart as the device does (protocol 5.1).

use crate::model::Url;

use super::image::ImageUrl;

/// Why a URL cannot be downloaded: a permanent error of the artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Other than `https://`, which is compared exactly (or, without TLS, `http://`).
    #[error("the scheme is not https")]
    Scheme,
    /// There is no host, or it is an IPv6 address.
    #[error("the host is missing or no name or IPv4 address")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// A space, a control character, or a byte beyond ASCII, none of which may enter a request.
    #[error("it contains a byte that does not belong in a URL")]
    Byte,
}

/// A URL taken apart where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UrlParts<'u> {
    pub(crate) tls: bool,
    pub(crate) host: &'u str,
    pub(crate) port: u16,
    /// What a path needs ahead of the target that it does not begin with: a slash, or nothing.
    pub(crate) slash: &'static str,
    pub(crate) target: &'u str,
}

impl ImageUrl {
    /// Takes a URL apart: port 443 and path `/` where left out, user information and fragment dropped. With `tls_required` anything
    /// but `https` is refused; a device in a run without TLS accepts `http` too.
    ///
    /// # Errors
    /// [`UrlError`] if no request can be made of it.
    pub fn parse(url: &Url, tls_required: bool) -> Result<Self, UrlError> {
        let parts = UrlParts::of(url.as_bytes(), tls_required)?;
        Ok(ImageUrl {
            tls: parts.tls,
            host: parts.host.into(),
            port: parts.port,
            path: [parts.slash, parts.target].concat(),
        })
    }
}

impl<'u> UrlParts<'u> {
    /// As [`ImageUrl::parse`].
    ///
    /// # Errors
    /// [`UrlError`] if no request can be made of it.
    pub(crate) fn of(url: &'u [u8], tls_required: bool) -> Result<Self, UrlError> {
        if !url.iter().all(u8::is_ascii_graphic) {
            return Err(UrlError::Byte);
        }
        let text = std::str::from_utf8(url).map_err(|_| UrlError::Byte)?;
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) if !tls_required => (false, rest),
            (None, _) => return Err(UrlError::Scheme),
        };
        let (rest, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_user, host)| host);
        if host_and_port.starts_with('[') {
            return Err(UrlError::Host);
        }
        let (host, port) = match host_and_port.rsplit_once(':') {
            Some((host, port)) => (host, parse_port(port).ok_or(UrlError::Port)?),
            None => (host_and_port, if tls { 443 } else { 80 }),
        };
        if host.is_empty() || host.contains(':') {
            return Err(UrlError::Host);
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(UrlParts {
            tls,
            host,
            port,
            slash,
            target,
        })
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten().filter(|&port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<(bool, String, u16, String), UrlError> {
        let url = ImageUrl::parse(&url.parse().unwrap(), true)?;
        Ok((url.tls, url.host, url.port, url.path))
    }

    fn https(host: &str, port: u16, path: &str) -> Result<(bool, String, u16, String), UrlError> {
        Ok((true, host.into(), port, path.into()))
    }

    #[test]
    fn parts_left_out_get_their_defaults() {
        assert_eq!(
            parse("https://ota.example.com/a/7/0"),
            https("ota.example.com", 443, "/a/7/0")
        );
        assert_eq!(parse("https://ota.example.com"), https("ota.example.com", 443, "/"));
        assert_eq!(parse("https://127.0.0.1:8443/a?rev=2"), https("127.0.0.1", 8443, "/a?rev=2"));
    }

    #[test]
    fn a_query_without_a_path_is_kept() {
        assert_eq!(parse("https://h?rev=2"), https("h", 443, "/?rev=2"));
        assert_eq!(parse("https://h:1?a/b"), https("h", 1, "/?a/b"));
    }

    #[test]
    fn fragment_and_user_information_are_dropped() {
        assert_eq!(parse("https://user:pass@h/x#part"), https("h", 443, "/x"));
        assert_eq!(parse("https://h#/part"), https("h", 443, "/"));
    }

    #[test]
    fn only_lower_case_https_is_a_scheme() {
        for url in ["http://h/", "HTTPS://h/", "ftp://h/", "h/a", "https:/h", "https"] {
            assert_eq!(parse(url), Err(UrlError::Scheme), "{url}");
        }
    }

    #[test]
    fn http_is_accepted_only_without_tls() {
        let url: Url = "http://h/x".parse().unwrap();
        let parsed = ImageUrl::parse(&url, false).unwrap();
        assert_eq!((parsed.tls, parsed.port), (false, 80));
        let secured = ImageUrl::parse(&"https://h/x".parse().unwrap(), false).unwrap();
        assert_eq!((secured.tls, secured.port), (true, 443));
    }

    #[test]
    fn what_no_request_can_be_made_of_is_refused() {
        for url in ["https://", "https:///x", "https://:80/", "https://u@/x", "https://[::1]/x"] {
            assert_eq!(parse(url), Err(UrlError::Host), "{url}");
        }
        for url in [
            "https://h:/x",
            "https://h:0/",
            "https://h:65536/",
            "https://h:+1/",
            "https://h:x",
        ] {
            assert_eq!(parse(url), Err(UrlError::Port), "{url}");
        }
        for url in ["https://h/a b", "https://h/\r\nx: y", "https://h/\u{e9}"] {
            assert_eq!(parse(url), Err(UrlError::Byte), "{url:?}");
        }
        assert_eq!(
            ImageUrl::parse(&Url::new(b"https://h/\xff").unwrap(), true),
            Err(UrlError::Byte)
        );
    }
}
