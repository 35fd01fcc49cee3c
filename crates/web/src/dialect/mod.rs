//! What a dialect is: its value, what it brings to each part, and what dialects share. None is
//! named here.

pub(crate) mod alerts;
pub(crate) mod apply_file;
pub(crate) mod cloud_events;
pub(crate) mod damaged;
pub(crate) mod dashboard;
pub(crate) mod declared_secrets;
pub(crate) mod demo;
pub(crate) mod form;
pub(crate) mod limits;
pub(crate) mod load;
pub(crate) mod nearest;
pub(crate) mod options;
pub(crate) mod own_block;
pub(crate) mod own_headers;
pub(crate) mod pause;
pub(crate) mod replay;
pub(crate) mod replays;
pub(crate) mod section;
pub(crate) mod signatures;
pub(crate) mod statistics;
pub(crate) mod value;
pub(crate) mod webhook_tls;
