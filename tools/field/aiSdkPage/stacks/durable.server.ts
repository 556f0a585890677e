import { serve } from '../serve'
import { durable } from './durable'

serve(durable)
