/// What a process reports when it ends.
enum ExitStatus: Int32, Sendable {
  /// The work is done.
  case done = 0
  /// The work could not be done, or was done and found something wrong.
  case failed = 1
  /// The verb was called wrongly; nothing was done.
  case usage = 2
}

/// One thing that `sluice` can do.
///
/// A verb is a value: its table entry carries all that `--help` prints, so help and behaviour cannot part company. To add
/// one, declare it beside its code and name it in ``Verb/all``.
struct Verb: Sendable {
  /// The word behind `sluice`.
  let name: String
  /// What the verb takes, as in `[OPTIONS] FILE`.
  let synopsis: String
  /// One line for the list of verbs.
  let summary: String
  /// What a reader of the help should know beyond the options; may be empty.
  let description: String
  /// The options, in the order of the help; `--help` is added to every verb.
  let options: [Option]
  /// Complete command lines that work.
  let examples: [String]
  /// Does the work. Writes errors itself; throws only what the caller did wrong.
  let run: @Sendable (Arguments) throws(UsageError) -> ExitStatus

  init(
    _ name: String, _ synopsis: String, summary: String, description: String = "", options: [Option],
    examples: [String], run: @escaping @Sendable (Arguments) throws(UsageError) -> ExitStatus
  ) {
    self.name = name
    self.synopsis = synopsis
    self.summary = summary
    self.description = description
    self.options = options + [Option("--help", "-h", "this text")]
    self.examples = examples
    self.run = run
  }

  /// The text of `sluice NAME --help`.
  var help: String {
    var text = "sluice \(name): \(summary)\n\nusage: sluice \(name) \(synopsis)\n"
    if !description.isEmpty { text += "\n\(description)\n" }
    text += "\noptions:\n"
    let heads = options.map { option in
      "  \(option.short.map { "\($0), " } ?? "    ")\(option.name)\(option.value.map { " \($0)" } ?? "")"
    }
    let width = min(30, heads.map(\.count).max() ?? 0)
    for (head, option) in zip(heads, options) {
      text += head.count > width ? "\(head)\n\(spaces(width))" : head + spaces(width - head.count)
      text += "  \(option.help)\n"
    }
    text += examples.count == 1 ? "\nexample:\n" : "\nexamples:\n"
    for example in examples { text += "  \(example)\n" }
    return text
  }
}

/// The program: finds the verb, reads its arguments, runs it.
enum Program {
  /// The version that `--version` prints.
  static let version = "0.1.0"

  /// Runs `sluice` with the words behind its name.
  static func run(_ words: [String], verbs: [Verb] = Verb.all) -> ExitStatus {
    guard let first = words.first else {
      Console.error(overview(verbs))
      return .usage
    }
    if first == "--help" || first == "-h" || first == "help" {
      return help(about: words.dropFirst().first, verbs)
    }
    if first == "--version" {
      Console.output("sluice \(version)\n")
      return .done
    }
    guard let verb = verbs.first(where: { $0.name == first }) else {
      let near = nearest(to: first, among: verbs.map(\.name))
      Console.error(
        "sluice: unknown verb \(first); \(near.map { "did you mean \($0)?" } ?? "sluice --help lists them")\n")
      return .usage
    }
    do throws(UsageError) {
      let arguments = try Arguments(Array(words.dropFirst()), options: verb.options)
      if arguments.has("--help") {
        Console.output(verb.help)
        return .done
      }
      return try verb.run(arguments)
    } catch {
      Console.error("sluice \(verb.name): \(error.message)\n")
      return .usage
    }
  }

  private static func help(about name: String?, _ verbs: [Verb]) -> ExitStatus {
    guard let name else {
      Console.output(overview(verbs))
      return .done
    }
    guard let verb = verbs.first(where: { $0.name == name }) else { return run([name], verbs: verbs) }
    Console.output(verb.help)
    return .done
  }

  /// The text of `sluice --help`.
  static func overview(_ verbs: [Verb]) -> String {
    var text = "sluice \(version): an API gateway\n\nusage: sluice VERB [OPTIONS]\n\nverbs:\n"
    let width = verbs.map(\.name.count).max() ?? 0
    for verb in verbs { text += "  \(verb.name)\(spaces(width - verb.name.count))  \(verb.summary)\n" }
    return text
      + "\n`sluice VERB --help` shows the options of a verb, with an example. `sluice --version` prints the version.\n"
  }
}

/// So many spaces; none for a negative number.
func spaces(_ count: Int) -> String { String(repeating: " ", count: max(0, count)) }
