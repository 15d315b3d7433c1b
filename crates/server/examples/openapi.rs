//! Prints the description of the interfaces, as `openapi/forebay.json` has it.

fn main() {
    println!("{:#}", forebay_server::openapi::openapi());
}
