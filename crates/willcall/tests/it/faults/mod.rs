//! What fails around servers on PostgreSQL: nodes, the database, its disk and its connections, the
//! network in between, clocks. The servers and the database are real ones, of the test's own.

mod clock;
mod connections;
mod cuts;
mod frozen;
mod full_disk;
mod gate;
mod handover;
mod held_up;
mod hints;
mod house;
mod killed;
mod proxy;
mod standby;
mod stop;
