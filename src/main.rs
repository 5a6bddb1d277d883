//! The program's entry point; everything is in the library, so that tests reach it.

fn main() -> std::process::ExitCode {
    tetherd::cli::main()
}
