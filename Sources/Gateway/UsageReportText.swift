import Core
import Pipeline

/// The document that tells somebody how all his limits stand, written as the answers come.
struct UsageReportText: InquiryText {
  let document: UsageDocument
  let subject: UsageSubject
  let survey: UsageSurvey

  func write(_ question: LimitQuestion, from start: Int, to buffer: ByteBuffer) {
    begin(buffer)
    var json = JSONWriter(continuing: buffer)
    let isAnswered = question.isAnswered
    for index in 0..<question.count {
      document.write(
        survey.counters[start + index], subject, isAnswered ? question[index] : nil, question.source, to: &json)
    }
  }

  func end(_ buffer: ByteBuffer) {
    begin(buffer)
    var json = JSONWriter(continuing: buffer)
    for counter in survey.unknown { document.write(counter, subject, nil, nil, to: &json) }
    json.endArray()
    json.key("complete")
    json.bool(survey.isComplete)
    json.endObject()
    buffer.append("\n")
  }

  private func begin(_ buffer: ByteBuffer) {
    guard buffer.isEmpty else { return }
    var json = JSONWriter(buffer)
    json.beginObject()
    document.writeSubject(subject, to: &json)
    json.key("limits")
    json.beginArray()
  }
}
