//! Of the log: its cursors.

mod fuzz;
