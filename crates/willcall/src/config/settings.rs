//! The table of all settings: name, default, kind of value, and meaning.

/// The value of a setting that is on or off.
pub(super) const FLAG: &str = "true|false";

/// One setting. A list is written with commas, or in the file as an array.
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) default: &'static str,
    pub(crate) value: &'static str,
    pub(crate) meaning: &'static str,
}

pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        key: "listen",
        default: "127.0.0.1:8080",
        value: "ADDRESS:PORT|unix:PATH,…",
        meaning: "Address and port to serve HTTP on, or a socket such as unix:/run/willcall/http.sock, or several. Put a proxy with TLS in front before you open it to others",
    },
    Setting {
        key: "socket_mode",
        default: "660",
        value: "600|660|666",
        meaning: "Who may connect to a socket: this user, also its group, or everybody on this machine",
    },
    Setting {
        key: "data_dir",
        default: "willcall-data",
        value: "FOLDER",
        meaning: "The folder for all data; created if it does not exist. Not used with database_url",
    },
    Setting {
        key: "database_url",
        default: "",
        value: "URL",
        meaning: "Keep the store in a PostgreSQL database instead, such as postgres://willcall@db.example.org/willcall?sslmode=verify-full&sslrootcert=system. Leave the password out of it, because lists of processes show it",
    },
    Setting {
        key: "database_password_file",
        default: "",
        value: "FILE",
        meaning: "A file with nothing but the password for database_url; read for each connection, so that it may change",
    },
    Setting {
        key: "master_key_file",
        default: "",
        value: "FILE",
        meaning: "A file with master keys, one a line, that seal the secrets of webhooks. The first seals, all open. `openssl rand -base64 32` makes one",
    },
    Setting {
        key: "master_key",
        default: "",
        value: "KEY,…",
        meaning: "The same without a file; only as a variable or in the settings file, because lists of processes show flags",
    },
    Setting {
        key: "allowed_hosts",
        default: "",
        value: "NAME,…",
        meaning: "Host names that this server answers to, besides IP addresses and names without a dot; *.example.org for all names below one, and each with :PORT for that port only",
    },
    Setting {
        key: "public_url",
        default: "",
        value: "URL",
        meaning: "Where people reach the dashboard, such as https://tickets.example.org, for links in alerts. Without it the first of allowed_hosts with https, or the address that is listened on",
    },
    Setting {
        key: "allow_private_targets",
        default: "none",
        value: "none|all|CIDR,…",
        meaning: "Which private addresses webhooks may call: none, all, or networks such as 10.0.0.0/8",
    },
    Setting {
        key: "proxy",
        default: "",
        value: "URL",
        meaning: "The proxy that calls to receivers go through, such as http://proxy.example.org:3128; also https://, socks5:// (looks names up here) and socks5h:// (has the proxy look them up), with USER@ before the host",
    },
    Setting {
        key: "proxy_password_file",
        default: "",
        value: "FILE",
        meaning: "A file with nothing but the password for proxy",
    },
    Setting {
        key: "no_proxy",
        default: "",
        value: "HOST,…",
        meaning: "Targets that are called without the proxy: example.org (and all below it), .example.org (only those below it), addresses, networks such as 10.0.0.0/8, or *; each also with :PORT",
    },
    Setting {
        key: "proxy_from_env",
        default: "false",
        value: FLAG,
        meaning: "Obey the variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY instead of proxy and no_proxy",
    },
    Setting {
        key: "ca_files",
        default: "",
        value: "FILE,…",
        meaning: "PEM files with certificates to trust, besides the system's",
    },
    Setting {
        key: "user_agent",
        default: concat!("Willcall/", env!("CARGO_PKG_VERSION")),
        value: "TEXT",
        meaning: "The User-Agent header of webhook calls",
    },
    Setting {
        key: "action_types",
        default: "",
        value: "CODE[=LABEL],…",
        meaning: "More action types that webhooks may subscribe to, as plugins register them",
    },
    Setting {
        key: "strict_action_types",
        default: "false",
        value: FLAG,
        meaning: "Refuse notifications whose action type no webhook can subscribe to, and triggers that are not known to fire, instead of accepting them with a warning",
    },
    Setting {
        key: "triggers",
        default: "",
        value: "RESOURCE.TRIGGER[>RESOURCE][=NAME],…",
        meaning: "More triggers that webhooks may subscribe to; after > a related resource whose webhooks are called too, after = the name that receivers are given",
    },
    Setting {
        key: "strict_triggers",
        default: "false",
        value: FLAG,
        meaning: "Refuse webhooks whose trigger is not known to fire",
    },
    Setting {
        key: "retention_days",
        default: "",
        value: "DAYS|NAME=DAYS,…",
        meaning: "How many days ended deliveries stay in the log, counted from when they were accepted, 1 to 3650: for all platforms, or for one by its name. The default is what each platform does. A pending delivery is never removed",
    },
    Setting {
        key: "max_concurrency_per_webhook",
        default: "32",
        value: "COUNT",
        meaning: "Most attempts to one webhook that run at the same time, 1 to 1024",
    },
    Setting {
        key: "max_call_time",
        default: "60",
        value: "SECONDS",
        meaning: "Longest time limit of a call that a webhook may be given, 1 to 300. Without one it has its platform's",
    },
    Setting {
        key: "schedules",
        default: "",
        value: "NAME=WAIT WAIT …,…",
        meaning: "Retry schedules that webhooks may be given by name, each with the waits before its retries, such as patient=5s 1m 1h 12h",
    },
    Setting {
        key: "max_in_flight",
        default: "1024",
        value: "COUNT",
        meaning: "Most attempts to all webhooks that run, or wait to be written down, at the same time, 1 to 16384",
    },
    Setting {
        key: "max_connections",
        default: "1024",
        value: "COUNT",
        meaning: "Most connections from applications that are open at the same time, 1 to 65536",
    },
    Setting {
        key: "trusted_proxies",
        default: "",
        value: "CIDR,…",
        meaning: "Proxies in front of this server, such as 127.0.0.1: their X-Forwarded-For header names the client, and their connections do not count as one client's; unix for whoever connects to a socket. List only proxies that append to this header",
    },
    Setting {
        key: "brand_name",
        default: "",
        value: "TEXT",
        meaning: "What the dashboard calls itself instead of Willcall",
    },
    Setting {
        key: "brand_color",
        default: "",
        value: "#RRGGBB",
        meaning: "Color of links and buttons of the dashboard, darkened or lightened until it can be read",
    },
    Setting {
        key: "brand_logo_file",
        default: "",
        value: "PATH",
        meaning: "Image in PNG, JPEG, WebP or SVG for the top of each page, at most 64 KiB",
    },
    Setting {
        key: "frame_ancestors",
        default: "",
        value: "ORIGIN,…",
        meaning: "Origins such as https://tickets.example.org whose pages may show the dashboard in a frame, for those whom a portal link lets in",
    },
    Setting {
        key: "smtp_url",
        default: "",
        value: "URL",
        meaning: "The mail server that alerts by mail go through: smtps://USER@mail.example.org (TLS), smtp://… (STARTTLS), or smtp+plain://localhost",
    },
    Setting {
        key: "smtp_password_file",
        default: "",
        value: "FILE",
        meaning: "A file with nothing but the password for smtp_url",
    },
    Setting {
        key: "smtp_from",
        default: "",
        value: "ADDRESS",
        meaning: "The address that alerts by mail come from",
    },
    Setting {
        key: "alert_failing_minutes",
        default: "5",
        value: "MINUTES",
        meaning: "How long every call of a webhook has to fail before somebody is told, 1 to 1440",
    },
    Setting {
        key: "alert_backlog",
        default: "100000",
        value: "COUNT",
        meaning: "More deliveries owed than this are told to those who run the server, 1 to 1000000000",
    },
    Setting {
        key: "log_level",
        default: "info",
        value: "error|warn|info|debug",
        meaning: "Least severe level that is logged",
    },
    Setting {
        key: "log_format",
        default: "auto",
        value: "auto|text|json|journald",
        meaning: "Format of the log; auto is text on a terminal, lines for journald if standard error leads there, and JSON lines elsewhere",
    },
];
