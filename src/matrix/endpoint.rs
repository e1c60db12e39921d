//! The endpoint grammar of product.md §3.

use super::Party;

/// Reads `ns/svc/name`, `subject`, an address and so on.
pub fn parse_endpoint(_text: &str) -> Result<Party, String> {
    Err(String::new())
}
