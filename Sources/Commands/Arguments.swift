/// One option of a verb, as the help shows it and the reader accepts it.
struct Option: Sendable {
  /// The long name with its dashes, `--rate`; it is the key by which the value is asked for.
  let name: String
  /// The one-letter form with its dash, or nil.
  let short: String?
  /// What stands for the value in the help (`N`, `FILE`), or nil for a switch.
  let value: String?
  /// Half a sentence of help, with the default where there is one.
  let help: String
  /// Another long name that is understood but not shown.
  let alias: String?

  /// An option that takes a value.
  init(_ name: String, _ short: String? = nil, value: String, _ help: String, alias: String? = nil) {
    self.name = name
    self.short = short
    self.value = value
    self.help = help
    self.alias = alias
  }

  /// A switch without a letter.
  init(_ name: String, _ help: String) {
    self.init(name, nil, help)
  }

  /// A switch.
  init(_ name: String, _ short: String?, _ help: String) {
    self.name = name
    self.short = short
    self.value = nil
    self.help = help
    alias = nil
  }
}

/// What was wrong with how a verb was called: exit status 2.
struct UsageError: Error, Equatable {
  /// What is wrong and, after a semicolon, what to do.
  let message: String

  init(_ message: String) { self.message = message }
}

/// The words behind a verb, sorted into options and operands.
///
/// `--name value`, `--name=value`, `-n value` and `-nvalue` are the same; switches of one letter may share a dash; `--`
/// ends the options; `-` alone is an operand. A value may begin with a dash only after `=`, or where it is a number or a
/// lone `-`. Repeating an option that takes a value adds to it; who asks for a single value gets the last.
struct Arguments: Equatable {
  /// The words that belong to no option, in order.
  private(set) var operands: [String] = []
  private var given: [String: [String]] = [:]

  /// Sorts `words`; refuses an unknown option (and names the nearest), a value where none is taken and a missing one.
  init(_ words: [String], options: [Option]) throws(UsageError) {
    var words = words[...]
    while let word = words.popFirst() {
      if word == "--" {
        operands += words
        return
      }
      if word.hasPrefix("--") {
        try readLong(word, &words, options)
      } else if word.hasPrefix("-") && word != "-" {
        try readShort(word, &words, options)
      } else {
        operands.append(word)
      }
    }
  }

  private mutating func readLong(_ word: String, _ rest: inout ArraySlice<String>, _ options: [Option])
    throws(UsageError)
  {
    let equals = word.firstIndex(of: "=")
    let name = String(word[..<(equals ?? word.endIndex)])
    guard let option = options.first(where: { $0.name == name || $0.alias == name }) else {
      throw Self.unknown(name, options)
    }
    let attached = equals.map { String(word[word.index(after: $0)...]) }
    if option.value == nil, attached != nil { throw UsageError("\(name) takes no value; write \(name) alone") }
    try take(option, attached, &rest)
  }

  private mutating func readShort(_ word: String, _ rest: inout ArraySlice<String>, _ options: [Option])
    throws(UsageError)
  {
    var letters = word.dropFirst()
    while let letter = letters.popFirst() {
      guard let option = options.first(where: { $0.short == "-\(letter)" }) else {
        throw Self.unknown("-\(letter)", options)
      }
      if option.value == nil {
        try take(option, nil, &rest)
      } else {
        try take(option, letters.isEmpty ? nil : String(letters), &rest)
        return
      }
    }
  }

  private mutating func take(_ option: Option, _ attached: String?, _ rest: inout ArraySlice<String>)
    throws(UsageError)
  {
    guard let placeholder = option.value else {
      given[option.name, default: []].append("")
      return
    }
    if let attached {
      given[option.name, default: []].append(attached)
      return
    }
    guard let next = rest.first, !next.hasPrefix("-") || next == "-" || Double(next) != nil else {
      throw UsageError("\(option.name) needs a value; write \(option.name) \(placeholder)")
    }
    rest.removeFirst()
    given[option.name, default: []].append(next)
  }

  private static func unknown(_ name: String, _ options: [Option]) -> UsageError {
    let names = options.flatMap { [$0.name] + ($0.short.map { [$0] } ?? []) }
    guard let near = nearest(to: name, among: names) else {
      return UsageError("unknown option \(name); --help lists what there is")
    }
    return UsageError("unknown option \(name); did you mean \(near)?")
  }
}

// Asking. Every question names an option that the verb declared; another name is a slip of ours, never of the caller's.
extension Arguments {
  /// Whether the option was given at all.
  func has(_ name: String) -> Bool { given[name] != nil }

  /// Every value of a repeated option, in order.
  func values(_ name: String) -> [String] { given[name] ?? [] }

  /// The value of the option, the last where there are several.
  func value(_ name: String) -> String? { given[name]?.last }

  /// A whole number within `range`, or nil where the option was not given.
  func integer(_ name: String, in range: ClosedRange<Int>) throws(UsageError) -> Int? {
    guard let text = value(name) else { return nil }
    guard let number = Int(text), range.contains(number) else {
      throw UsageError("\(name) \(text): give a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  /// A number within `range`, or nil where the option was not given.
  func number(_ name: String, in range: ClosedRange<Double>) throws(UsageError) -> Double? {
    guard let text = value(name) else { return nil }
    guard let number = Double(text), range.contains(number) else {
      throw UsageError("\(name) \(text): give a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  /// A duration such as `250ms`, `5s`, `1.5m` or `2h`, in nanoseconds; a bare number means seconds. Nil where the
  /// option was not given.
  func nanoseconds(_ name: String, in range: ClosedRange<Duration>) throws(UsageError) -> Int64? {
    guard let text = value(name) else { return nil }
    guard let read = Self.nanoseconds(text) else {
      throw UsageError("\(name) \(text): give a duration such as 250ms, 5s or 1m")
    }
    guard range.contains(.nanoseconds(read)) else {
      throw UsageError("\(name) \(text): give a duration from \(range.lowerBound) to \(range.upperBound)")
    }
    return read
  }

  /// Nanoseconds of `text`, a non-negative decimal number and `us`, `ms`, `s`, `m` or `h`, or no unit for seconds.
  static func nanoseconds(_ text: String) -> Int64? {
    let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    let factors: [String: Double] = ["": 1e9, "us": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9]
    guard let factor = factors[String(text[digits.endIndex...])], let number = Double(digits) else { return nil }
    let product = number * factor
    return product < 9e18 ? Int64(product.rounded()) : nil
  }
}

/// The candidate that differs from `word` by the fewest keystrokes, or nil where none is near enough to be meant.
func nearest(to word: String, among candidates: [String]) -> String? {
  let limit = word.count < 3 ? 0 : max(1, word.count / 3)
  let ranked = candidates.map { (distance: editDistance(word, $0), candidate: $0) }
  let prefixed = candidates.filter { word.count >= 5 && $0.hasPrefix(word) }
  if prefixed.count == 1 { return prefixed[0] }
  return ranked.filter { $0.distance <= limit }.min { $0.distance < $1.distance }?.candidate
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
private func editDistance(_ left: String, _ right: String) -> Int {
  let left = Array(left.utf8)
  let right = Array(right.utf8)
  var rows = [Array(0...right.count)]
  for i in left.indices {
    var row = [i + 1]
    for j in right.indices {
      var best = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (left[i] == right[j] ? 0 : 1))
      if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] { best = min(best, rows[i - 1][j - 1] + 1) }
      row.append(best)
    }
    rows.append(row)
  }
  return rows[left.count][right.count]
}
