import Testing

@testable import Commands

@Suite("Arguments")
struct ArgumentsTests {
  private let options = [
    Option("--rate", "-r", value: "N", "a rate"), Option("--header", "-H", value: "FIELD", "a field"),
    Option("--json", "-j", "JSON"), Option("--quiet", "-q", "quiet"), Option("--warmup", value: "TIME", "warm-up"),
  ]

  @Test(
    "What the verb does not take is refused, with a way out",
    arguments: [
      (["--rtae", "5"], "unknown option --rtae; did you mean --rate?"),
      (["--warm", "5"], "unknown option --warm; did you mean --warmup?"),
      (["--xylophone"], "unknown option --xylophone; --help lists what there is"),
      (["-x"], "unknown option -x; --help lists what there is"),
      (["--json=yes"], "--json takes no value; write --json alone"),
      (["--rate"], "--rate needs a value; write --rate N"),
      (["--rate", "--json"], "--rate needs a value; write --rate N"),
    ])
  func refusals(words: [String], message: String) {
    #expect(throws: UsageError(message)) { try Arguments(words, options: options) }
  }

  @Test(
    "Every way of writing a value means the same",
    arguments: [["--rate", "5"], ["--rate=5"], ["-r", "5"], ["-r5"], ["-jr5"], ["-r", "1", "-r", "5"]])
  func spellings(words: [String]) throws {
    #expect(try Arguments(words, options: options).integer("--rate", in: 1...9) == 5)
  }

  @Test("Repeated options keep all values in order, and operands keep theirs")
  func repetition() throws {
    let read = try Arguments(["-H", "a: 1", "x", "-H=b", "-", "--", "--rate"], options: options)
    #expect(read.values("--header") == ["a: 1", "=b"])
    #expect(read.operands == ["x", "-", "--rate"])
    #expect(!read.has("--rate") && read.value("--rate") == nil)
  }

  @Test("A negative number may follow an option")
  func negative() throws {
    #expect(try Arguments(["--rate", "-5"], options: options).integer("--rate", in: -9...9) == -5)
  }

  @Test("A number outside its range is refused with the range", arguments: ["0", "10", "x", "1.5", ""])
  func ranges(text: String) throws {
    let read = try Arguments(["--rate=\(text)"], options: options)
    #expect(throws: UsageError("--rate \(text): give a whole number from 1 to 9")) {
      try read.integer("--rate", in: 1...9)
    }
  }

  @Test("What is no duration is refused", arguments: ["", "s", "5 s", "5x", "-1s", "1e3s", "999999999999h", ".", "5S"])
  func badDurations(text: String) {
    #expect(Arguments.nanoseconds(text) == nil)
  }

  @Test(
    "Durations are read in every unit",
    arguments: [
      ("250ms", 250_000_000), ("5s", 5_000_000_000), ("5", 5_000_000_000), ("1.5m", 90_000_000_000),
      ("2h", 7_200_000_000_000), ("7us", 7_000), ("0", 0),
    ] as [(String, Int64)])
  func durations(text: String, nanoseconds: Int64) {
    #expect(Arguments.nanoseconds(text) == nanoseconds)
  }

  @Test("A near word is found, a far one is not", arguments: [("chekc", "check"), ("bnech", "bench"), ("zzz", nil)])
  func near(word: String, expected: String?) {
    #expect(nearest(to: word, among: ["check", "bench", "run"]) == expected)
  }
}

@Suite("Verb")
struct VerbTests {
  @Test("An unknown verb, and no verb at all, are wrong usage")
  func unknownVerb() {
    #expect(Program.run(["bnech"]) == .usage)
    #expect(Program.run([]) == .usage)
  }

  @Test(
    "Every verb has a summary, an example that names it, and help for every option", arguments: Verb.all.map(\.name))
  func help(name: String) throws {
    let verb = try #require(Verb.all.first { $0.name == name })
    #expect(!verb.summary.isEmpty && !verb.examples.isEmpty)
    #expect(verb.examples.allSatisfy { $0.contains("sluice \(name)") })
    for option in verb.options { #expect(verb.help.contains(option.name) && !option.help.isEmpty) }
    #expect(Set(verb.options.map(\.name)).count == verb.options.count)
    let letters = verb.options.compactMap(\.short)
    #expect(Set(letters).count == letters.count)
  }
}
