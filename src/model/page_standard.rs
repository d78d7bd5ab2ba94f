//! What HAProxy says where it answers by itself: a title and a sentence a status.

const SENTENCES: &[(u16, &str, &str)] = &[
    (200, "OK", "Service ready."),
    (400, "Bad request", "Your browser sent an invalid request."),
    (401, "Unauthorized", "You need a valid user and password to access this content."),
    (403, "Forbidden", "Request forbidden by administrative rules."),
    (404, "Not Found", "The resource could not be found."),
    (
        405,
        "Method Not Allowed",
        "A request was made of a resource using a request method not supported by that resource",
    ),
    (407, "Unauthorized", "You need a valid user and password to access this content."),
    (408, "Request Time-out", "Your browser didn't send a complete request in time."),
    (410, "Gone", "The resource is no longer available and will not be available again."),
    (413, "Payload Too Large", "The request entity exceeds the maximum allowed."),
    (425, "Too Early", "Your browser sent early data."),
    (429, "Too Many Requests", "You have sent too many requests in a given amount of time."),
    (500, "Internal Server Error", "An internal server error occurred."),
    (501, "Not Implemented", ".The server does not support the functionality required to fulfill the request."),
    (502, "Bad Gateway", "The server returned an invalid or incomplete response."),
    (503, "Service Unavailable", "No server is available to handle this request."),
    (504, "Gateway Time-out", "The server didn't respond in time."),
];

/// The statuses of which something is said.
pub fn statuses() -> impl Iterator<Item = u16> {
    SENTENCES.iter().map(|(status, ..)| *status)
}

/// What is said of a status, in HTML; of others nothing.
#[must_use]
pub fn standard(status: u16) -> String {
    let said = SENTENCES.iter().find(|(known, ..)| *known == status);
    said.map_or_else(String::new, |(_, title, sentence)| {
        format!("<html><body><h1>{status} {title}</h1>\n{sentence}\n</body></html>\n")
    })
}
