import Core

/// One remark about a configuration file: what is wrong, where, and what to do.
///
/// Never contains the value of a secret: the option reader strikes out everything that came from a reference.
public struct Diagnostic: Hashable, Sendable {
  /// How bad it is.
  public enum Severity: String, Sendable {
    /// The configuration cannot be used.
    case error
    /// It can be used, but probably does not do what was meant.
    case warning
  }

  /// How bad it is.
  public let severity: Severity
  /// The line, from 1; 0 where the remark is about the file as a whole.
  public let line: Int
  /// The column in characters, from 1; 0 where the remark is about the file as a whole.
  public let column: Int
  /// The option, as in `routes[0].match.path`; empty where there is none.
  public let path: String
  /// What is wrong, a phrase without a full stop.
  public let message: String
  /// What to do, a phrase without a full stop.
  public let fix: String

  /// A remark.
  public init(_ severity: Severity, line: Int, column: Int, path: String = "", message: String, fix: String) {
    self.severity = severity
    self.line = line
    self.column = column
    self.path = path
    self.message = message
    self.fix = fix
  }

  /// The remark on one line: `sluice.json:14:9: routes[0].path: message; fix`. Line ends in it become spaces.
  public func text(file: String) -> String {
    var place = file
    if line > 0 { place += ":\(line):\(column)" }
    let warning = severity == .warning ? "warning: " : ""
    let option = path.isEmpty ? "" : "\(path): "
    let body = "\(place): \(warning)\(option)\(message); \(fix)"
    return String(body.map { $0.isNewline ? " " : $0 })
  }
}

/// Turns byte offsets of a text into lines and columns. Building it is linear, asking is logarithmic.
public struct LineIndex: Sendable {
  private let text: [UInt8]
  private let starts: [Int]

  /// The lines of `text`.
  public init(_ text: [UInt8]) {
    self.text = text
    var starts = [0]
    for (offset, byte) in text.enumerated() where byte == 10 { starts.append(offset + 1) }
    self.starts = starts
  }

  /// The line and the column (in characters, not bytes) of the byte at `offset`, both from 1.
  public func place(of offset: Int) -> (line: Int, column: Int) {
    let offset = min(max(offset, 0), text.count)
    var low = 0
    var high = starts.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if starts[middle] <= offset { low = middle } else { high = middle }
    }
    let before = text[starts[low]..<offset]
    return (low + 1, before.count { $0 & 0xc0 != 0x80 } + 1)
  }
}

/// Finds what somebody probably meant to write.
public enum Suggestion {
  /// The candidate nearest to `word`, where it is near enough to be a slip: at most a third of the letters differ.
  public static func nearest(to word: String, among candidates: some Sequence<String>) -> String? {
    let letters = Array(word.lowercased().utf8.prefix(64))
    var best: (distance: Int, candidate: String)?
    for candidate in candidates {
      // Half a name, `drain` for `drainSeconds`, counts as a small slip.
      if letters.count >= 4, candidate.lowercased().utf8.starts(with: letters), best?.distance ?? .max > 2 {
        best = (2, candidate)
        continue
      }
      let other = Array(candidate.lowercased().utf8.prefix(64))
      let bound = max(1, max(letters.count, other.count) / 3)
      guard abs(letters.count - other.count) <= bound else { continue }
      let distance = distance(letters, other)
      if distance <= bound && distance < best?.distance ?? .max { best = (distance, candidate) }
    }
    return best?.candidate
  }

  /// `did you mean "x"?`, or `otherwise` where nothing is near.
  public static func fix(_ word: String, among candidates: some Sequence<String>, otherwise: String) -> String {
    nearest(to: word, among: candidates).map { "did you mean \"\($0)\"?" } ?? otherwise
  }

  /// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other.
  static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var beforeLast: [Int] = []
    var last = Array(0...right.count)
    for (row, letter) in left.enumerated() {
      var line = [row + 1]
      for (column, other) in right.enumerated() {
        var cost = min(last[column + 1] + 1, line[column] + 1, last[column] + (letter == other ? 0 : 1))
        if row > 0 && column > 0 && letter == right[column - 1] && left[row - 1] == other {
          cost = min(cost, beforeLast[column - 1] + 1)
        }
        line.append(cost)
      }
      beforeLast = last
      last = line
    }
    return last[right.count]
  }
}
