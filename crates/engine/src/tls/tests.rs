//! Of certificates: what is read of any bytes.

mod fuzz;
