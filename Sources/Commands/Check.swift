import Gateway

extension Verb {
  /// `sluice check`.
  static let check = Verb(
    "check", "[OPTIONS] FILE", summary: "validate a configuration file",
    description: "Prints every error and warning of the file, one a line: where, what, and what to do. Nothing is\n"
      + "started. Exit status 0 if the file can be used, 1 if not. FILE - is standard input.",
    options: [
      Option("--strict", nil, "warnings count as errors, also secrets that are not known on this machine"),
      Option("--json", nil, "the outcome as JSON on standard output"),
    ],
    examples: ["sluice check sluice.json", "sluice check --json sluice.json"]
  ) { arguments throws(UsageError) in
    guard arguments.operands.count == 1 else {
      throw UsageError("check takes one file; name it, or - for standard input")
    }
    let path = arguments.operands[0]
    let check: BlueprintCheck
    do throws(Console.FileError) {
      check = try ConfigurationFile.check(path)
    } catch {
      Console.error("sluice check: \(error.message)\n")
      return .failed
    }
    let isFine = check.isFine(strictly: arguments.has("--strict"))
    if arguments.has("--json") {
      Console.output(check.json(file: path, isFine: isFine))
    } else {
      Console.error(check.text(file: path))
      if isFine, let summary = check.summary { Console.output("\(path): fine, \(summary)\n") }
    }
    return isFine ? .done : .failed
  }
}
