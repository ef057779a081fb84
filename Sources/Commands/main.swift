import Glibc

// Not `exit`: what libraries do at the end is done beside threads that still use them, and nothing here is buffered by C.
_exit(Program.run(Console.arguments).rawValue)
