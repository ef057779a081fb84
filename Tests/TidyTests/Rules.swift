import Foundation

/// The rules as functions from text to breaches, so that a test can show each of them failing.
enum Rules {
  // MARK: Rooms

  /// The level of every room; a room imports lower levels only.
  static let levels: [String: Int] = [
    "CLinux": 0, "CHiredis": 0, "COpenSSL": 0, "Core": 1, "HTTP": 2, "Crypto": 2, "Net": 3, "Pipeline": 3, "AI": 3,
    "Policies": 4, "Traffic": 4, "Cluster": 4, "Gateway": 5, "Admin": 6, "Commands": 7,
  ]

  /// The toolchain's modules that a room may import: C library, synchronisation, Foundation's small half off the hot path.
  static let toolchain: Set<String> = ["Glibc", "Musl", "Synchronization", "FoundationEssentials", "Swift"]

  static func importBreaches(in text: String, room: String) -> [String] {
    guard let level = levels[room] else { return ["\(room) is not in the table of rooms"] }
    return imports(in: text).compactMap { module in
      if toolchain.contains(module) { return nil }
      guard let other = levels[module] else { return "\(room) imports \(module), which is no room and not allowed" }
      return other < level ? nil : "\(room) (level \(level)) imports \(module) (level \(other))"
    }
  }

  static func imports(in text: String) -> [String] {
    SourceCode(text).lines.compactMap { line in
      let words = line.split(separator: " ").map(String.init)
      guard let keyword = words.firstIndex(of: "import"), keyword + 1 < words.count else { return nil }
      guard words[..<keyword].allSatisfy({ $0.hasPrefix("@") || ["public", "internal", "private"].contains($0) }) else {
        return nil
      }
      let kinds: Set = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
      let module = kinds.contains(words[keyword + 1]) ? words[keyword + 2] : words[keyword + 1]
      return module.split(separator: ".").first.map(String.init)
    }
  }

  // MARK: Length

  static let fileLineLimit = 400
  static let functionLineLimit = 60

  static func lengthBreaches(in text: String) -> [String] {
    var breaches: [String] = []
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).count - (text.hasSuffix("\n") ? 1 : 0)
    if lines > fileLineLimit { breaches.append("\(lines) lines, at most \(fileLineLimit)") }
    for function in SourceCode(text).functions where function.lineCount > functionLineLimit {
      breaches.append(
        "line \(function.line): \(function.name) has \(function.lineCount) lines, at most \(functionLineLimit)")
    }
    return breaches
  }

  // MARK: The world is a parameter

  /// Ways to read a clock or to draw a random number without being given it.
  static let worldly = [
    "clock_gettime", "gettimeofday", "time(nil)", "ContinuousClock", "SuspendingClock", "Date()", "Date.now",
    "getrandom",
    "SystemRandomNumberGenerator", "arc4random", ".random(in:", ".randomElement(", ".shuffled(", ".shuffle(",
    "Bool.random", "UUID()", "nanosleep", "usleep", "Task.sleep",
  ]

  static func worldBreaches(in text: String) -> [String] {
    SourceCode(text).lines.enumerated().flatMap { number, line in
      worldly.filter { isNamed($0, in: line) }.map { "line \(number + 1): \($0)" }
    }
  }

  /// Whether `line` holds `name` as a word of its own: `HTTPDate()` is not `Date()`.
  private static func isNamed(_ name: String, in line: Substring) -> Bool {
    line.ranges(of: name).contains { range in
      name.hasPrefix(".") || !(line[..<range.lowerBound].last.map { $0.isLetter || $0.isNumber || $0 == "_" } ?? false)
    }
  }

  // MARK: What is committed

  static func isAllowed(topLevel entry: String) -> Bool {
    ["Package.swift", "Sources", "Tests", "cluster", "benchmarks", "compose.yaml", "README.md"].contains(entry)
      || entry.hasPrefix(".")
  }

  /// Home and work folders of whoever wrote the file.
  static func machinePaths(in text: String) -> [String] {
    let pattern = /\/(home|Users|root|work|farm|mnt)\/[A-Za-z0-9._-]+/
    return text.matches(of: pattern).map { String($0.output.0) }
  }

  // MARK: Tables

  /// What stands between `<!-- name -->` and the next `<!-- end -->`; nil where there is no such mark.
  static func marked(_ name: String, in text: String) -> String? { range(name, in: text).map { String(text[$0]) } }

  static func replacing(_ name: String, with table: String, in text: String) -> String? {
    range(name, in: text).map { text.replacingCharacters(in: $0, with: table) }
  }

  private static func range(_ name: String, in text: String) -> Range<String.Index>? {
    guard let start = text.range(of: "<!-- \(name) -->\n"),
      let end = text.range(of: "<!-- end -->", range: start.upperBound..<text.endIndex)
    else { return nil }
    return start.upperBound..<end.lowerBound
  }
}
