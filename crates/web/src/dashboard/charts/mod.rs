//! Charts: attempts by what they came to and response times, of a webhook and of all webhooks of a
//! tenant. Drawn here as SVG, with a scale, and with a table behind them; the script only adds what
//! is read out along the way.

mod drawing;
mod scale;
mod tenant;
mod view;

pub(super) use tenant::routes;
pub(super) use view::ChartsView;
