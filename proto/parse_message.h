// Messages from bytes of any origin.
#ifndef WEFT_PROTO_PARSE_MESSAGE_H_
#define WEFT_PROTO_PARSE_MESSAGE_H_

#include <string_view>

namespace google::protobuf {
class MessageLite;
}

namespace weft {

// Whether the bytes are a message of that type, which `*message` then is. The way in for all bytes
// of files: protobuf by itself ends the program at 2 GiB and more, and writes to standard error
// what the caller has to say in words of its own.
bool ParseMessage(std::string_view bytes, google::protobuf::MessageLite* message);

}  // namespace weft

#endif  // WEFT_PROTO_PARSE_MESSAGE_H_
