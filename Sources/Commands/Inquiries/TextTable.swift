/// Columns of text, as wide as they have to be.
struct TextTable {
  private let alignsRight: [Bool]
  private var rows: [[String]]

  /// A table with these headings; the columns of those that begin with `>` are aligned to the right.
  init(_ headings: [String]) {
    alignsRight = headings.map { $0.hasPrefix(">") }
    rows = [headings.map { $0.hasPrefix(">") ? String($0.dropFirst()) : $0 }]
  }

  /// Adds a row with a cell for each heading.
  mutating func add(_ cells: [String]) { rows.append(cells) }

  /// One line a row, without blanks at the end.
  var text: String {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      var line = ""
      for (column, cell) in row.enumerated() {
        let padding = spaces(widths[column] - cell.count)
        line += (column > 0 ? "  " : "") + (alignsRight[column] ? padding + cell : cell + padding)
      }
      while line.last == " " { line.removeLast() }
      return line + "\n"
    }.joined()
  }
}
