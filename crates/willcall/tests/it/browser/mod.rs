//! What people do with the dashboard, in a real browser.

mod driver;

use driver::{Browser, Wants};

#[test]
fn trial() {
    for no_scripts in [false, true] {
        let browser = Browser::open(Wants { no_scripts });
        browser.go("data:text/html,<title>T</title><h1>hello there</h1><p id=a>no</p><script>document.getElementById('a').textContent='yes'</script>");
        eprintln!(
            "{no_scripts} {} {} {}",
            browser.title(),
            browser.text("#a"),
            browser.count("p")
        );
        let pic = browser.picture(360, "dark");
        eprintln!("{}", pic.len());
        browser.find_text("hello there");
    }
}
