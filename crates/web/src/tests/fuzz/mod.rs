//! Fuzz targets of the whole site, and of what a request carries.

mod apply_file;
mod site;
mod transport;
