def handler(event, context):
    return "Good morning"
